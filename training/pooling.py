"""A classifier that reads the mean of a text's last hidden states, as sentence encoders do.

The classifiers of most architectures read the first token alone; the embedded base was taught with
the mean (Reimers & Gurevych 2019), so its classes lie apart in it before any training.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput

MEAN = "mean"
CONFIG_KEY = "pooling"  # in config.json, so that a checkpoint is loaded as it was trained


@cache
def mean_pooled(plain: Any) -> Any:
    """The class `plain`, a `...ForSequenceClassification`, with mean pooling and a linear head."""

    class MeanPooled(plain):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            for name in [name for name, _ in self.named_children()]:
                if name not in (self.base_model_prefix, "dropout"):
                    delattr(self, name)
            if getattr(self.base_model, "pooler", None) is not None:
                self.base_model.pooler = None
            self.classifier = nn.Linear(config.hidden_size, config.num_labels)
            self.post_init()

        def forward(
            self,
            input_ids: Tensor | None = None,
            attention_mask: Tensor | None = None,
            token_type_ids: Tensor | None = None,
            inputs_embeds: Tensor | None = None,
            output_hidden_states: bool | None = None,
            output_attentions: bool | None = None,
            **unused: Any,  # PEFT gives all that a classifier of transformers takes
        ) -> Any:
            given: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
            if inputs_embeds is not None:
                given["inputs_embeds"] = inputs_embeds
            if "token_type_ids" in inspect.signature(self.base_model.forward).parameters:
                given["token_type_ids"] = token_type_ids
            encoded = self.base_model(
                **given,
                output_hidden_states=output_hidden_states,
                output_attentions=output_attentions,
            )
            pooled = pool(encoded.last_hidden_state, attention_mask)
            dropout = getattr(self, "dropout", None)
            return SequenceClassifierOutput(
                logits=self.classifier(pooled if dropout is None else dropout(pooled)),
                hidden_states=encoded.get("hidden_states"),
                attentions=encoded.get("attentions"),
            )

    MeanPooled.__name__ = MeanPooled.__qualname__ = f"MeanPooled{plain.__name__}"
    MeanPooled.__module__ = plain.__module__  # by which Optimum tells whose model it is
    return MeanPooled


def pool(hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
    """(texts, width): means over real tokens, brought to a root mean square of 1.

    hidden: (texts, tokens, width); of equal length, their products are cosines times the width
    """
    if attention_mask is None:
        return normalized(hidden.mean(dim=1))
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return normalized((hidden * mask).sum(dim=1) / mask.sum(dim=1))


def normalized(vectors: Tensor) -> Tensor:
    """(..., width) of a root mean square of 1."""
    width: int = vectors.shape[-1]
    return functional.normalize(vectors.float(), dim=-1) * width**0.5
