"""The last hidden states of a model, as its encoder (or decoder) hands them to the head.

    kept = LastHidden(student)      # before the forward pass
    hidden_loss(kept.parts[HIDDEN], teacher_hidden, batch)

Student and teacher are read at the same place. `hidden_states[-1]` is another for some families:
ModernBERT's last norm comes after it, and BART's and T5's classifiers do not name it so.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from services.errors import UsageError
from training.models import unwrapped

HIDDEN = "hidden"


class LastHidden:
    """Keeps the last hidden states of every forward pass: (windows, tokens, width).

    Raises UsageError for an architecture whose encoder is not a model of its own.
    """

    def __init__(self, model: Any) -> None:
        plain = unwrapped(model)
        if plain.base_model is plain:
            raise UsageError(
                f"{type(plain).__name__} has no encoder apart from its head.",
                "Leave `hidden_weight` out.",
            )
        self.parts: dict[str, Tensor] = {}
        self._hook = plain.base_model.register_forward_hook(self._keep)

    def close(self) -> None:
        """Leave the model as it was."""
        self._hook.remove()
        self.parts.clear()

    def _keep(self, module: Any, inputs: Any, output: Any) -> None:
        self.parts[HIDDEN] = output.last_hidden_state
