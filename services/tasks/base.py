"""What all tasks share: the encoded item, and two small formulas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.windows import Tokens, Window

Outputs = dict[str, NDArray[Any]]
Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One item, ready to run: its windows, the tokens they are cut from, and what usage reports."""

    windows: list[Window]
    tokens: list[Tokens]
    texts: list[str]
    truncated: bool = False

    @property
    def token_count(self) -> int:
        """Tokens that the model reads, special tokens and overlaps included."""
        return sum(len(window) for window in self.windows)


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(logits, np.float64).clip(-60, 60))))


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Over the last axis, in float64."""
    shifted = np.asarray(logits, np.float64)
    exponents = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))
