"""The parameters of a model from its input to its output: what is frozen or slowed down by layers.

layer_groups(model)[0]     # names of the embeddings
layer_groups(model)[-1]    # names of the head: what no base brings along, and a pooler
"""

from __future__ import annotations

from typing import Any

from training.models import LAYER, unwrapped


def head_names(model: Any) -> list[str]:
    """The modules of the head: what no base brings along, such as DistilBERT's pre_classifier."""
    names = [
        name
        for name, module in model.named_children()
        if module is not model.base_model and any(True for _ in module.parameters())
    ]
    pooled = getattr(model.base_model, "pooler", None) is not None
    return [*names, "pooler"] if pooled else names


def is_new(model: Any, name: str) -> bool:
    """Whether no base brings the parameter `name` along; the tied output layer is the base's."""
    if model.base_model is model:  # T5: encoder and decoder with nothing on top
        return False
    return not name.startswith(f"{model.base_model_prefix}.")


def is_head(model: Any, name: str) -> bool:
    """Whether the parameter `name` is part of the head: new, or of the base's pooler.

    A pooler stands between the encoder and the classifier, and was learned for another task.
    """
    return is_new(model, name) or name.startswith(f"{model.base_model_prefix}.pooler.")


def layer_groups(model: Any) -> list[list[str]]:
    """Names of all parameters: embeddings, each layer, the head; an empty head where there is none.

    The layers of a decoder stand behind those of its encoder. What comes after the last layer of a
    stack (a norm) belongs to that layer.
    """
    model = unwrapped(model)
    embeddings: list[str] = []
    head: list[str] = []
    layers: dict[tuple[str, int], list[str]] = {}
    for name, _ in model.named_parameters():
        match = LAYER.match(name)
        if is_head(model, name) and match is None:
            head.append(name)
        elif match is not None:
            layers.setdefault((match["stack"], int(match["number"])), []).append(name)
        elif not layers or "embed" in name:
            embeddings.append(name)
        else:
            next(reversed(layers.values())).append(name)
    return [embeddings, *layers.values(), head]


def depth(model: Any) -> int:
    """How many layers there are between the embeddings and the head."""
    return len(layer_groups(model)) - 2
