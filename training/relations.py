"""How the tokens of a text relate to each other in a model's last layer, and two models' distance.

    kept = LastProjections(student)      # before the forward pass
    relation_loss(kept.parts, teacher_parts, attention_mask, heads)

Self-attention relations of MiniLMv2 (Wang et al. 2021, section 3.1): between queries and queries,
keys and keys, values and values. They are read from the layers that make them, so that every
implementation of attention will do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.errors import UsageError

# What the architectures call the layers.
NAMES = {
    "query": ("query", "q_lin", "q_proj"),
    "key": ("key", "k_lin", "k_proj"),
    "value": ("value", "v_lin", "v_proj"),
}
PARTS = tuple(NAMES)
PADDED = -1e4  # instead of -inf: a difference of two masked logits must stay a number


class LastProjections:
    """Keeps queries, keys and values of the last layer: (windows, tokens, width) each.

    Raises UsageError for an architecture that does not have them apart.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parts: dict[str, Tensor] = {}
        self._hooks = [
            module.register_forward_hook(partial(self._keep, part))
            for part, module in _last_layers(model).items()
        ]

    def close(self) -> None:
        """Leave the model as it was."""
        for hook in self._hooks:
            hook.remove()
        self.parts.clear()

    def _keep(self, part: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.parts[part] = output


def _last_layers(model: nn.Module) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        for part, names in NAMES.items():
            if isinstance(module, nn.Linear) and name.rpartition(".")[2] in names:
                found[part] = module  # the last one stays
    if set(found) != set(PARTS):
        raise UsageError(
            f"{type(model).__name__} has no layers of its own for queries, keys and values.",
            "Leave `relation_weight` out.",
        )
    return found


def relation_loss(
    student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], mask: Tensor, heads: int
) -> Tensor:
    """Sum over queries, keys and values of KL(teacher || student) between their relations.

    student, teacher: part -> (windows, tokens, width), whose widths may differ
    mask: (windows, tokens), 1 at real tokens; the divergence is a mean over them and over heads
    """
    return torch.stack(
        [_divergence(student[part], teacher[part], mask, heads) for part in PARTS]
    ).sum()


def _divergence(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> Tensor:
    ours, theirs = (log_relations(part, mask, heads) for part in (student, teacher))
    distance = functional.kl_div(ours, theirs, log_target=True, reduction="none").sum(dim=-1)
    real = mask[:, None, :].to(distance.dtype)
    return (distance * real).sum() / (real.sum() * heads)


def log_relations(part: Tensor, mask: Tensor, heads: int) -> Tensor:
    """(windows, heads, tokens, tokens): log-softmax of the scaled products of a part with itself.

    part: (windows, tokens, width), split into `heads` pieces
    """
    windows, tokens, width = part.shape
    pieces = part.float().view(windows, tokens, heads, width // heads).transpose(1, 2)
    products = pieces @ pieces.transpose(2, 3) / math.sqrt(width // heads)
    return functional.log_softmax(products.masked_fill(mask[:, None, None, :] == 0, PADDED), dim=-1)
