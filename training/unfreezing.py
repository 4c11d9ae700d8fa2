"""Gradual unfreezing (Howard & Ruder 2018): the head first, then one layer more at a time.

    callbacks = [Unfreeze(recipe)]     # of a Trainer; a training that was killed goes on right

The last layers are the least general; they adapt before what they stand on is moved.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from training.layers import layer_groups
from training.models import unwrapped
from training.recipe import Recipe


def moving_groups(groups: int, step: int, steps: int, unfreeze_ratio: float) -> int:
    """How many groups move at `step`, counted from the top: from 1 to all of them.

    All of them do from `unfreeze_ratio` of the training on, at equal distances until then.
    """
    opened = (groups - 1) * step / max(1.0, steps * unfreeze_ratio)
    return min(groups, 1 + int(opened))


class Unfreeze(TrainerCallback):
    """Lets go of one group of parameters after the other; what was frozen for good stays so."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.groups: list[list[Any]] = []

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **options: Any
    ) -> None:
        """The optimizer has all parameters by now, those that wait among them."""
        model = unwrapped(model)
        named = dict(model.named_parameters())
        groups = [[named[name] for name in names] for names in layer_groups(model)]
        moving = [[p for p in group if p.requires_grad] for group in groups]
        self.groups = [group for group in moving if group]
        self._let_go(state)

    def on_step_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        self._let_go(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        for group in self.groups:
            for parameter in group:
                parameter.requires_grad_(True)

    def _let_go(self, state: Any) -> None:
        ratio = self.recipe.unfreeze_ratio
        count = moving_groups(len(self.groups), state.global_step, state.max_steps, ratio)
        for place, group in enumerate(reversed(self.groups)):
            for parameter in group:
                parameter.requires_grad_(place < count)
