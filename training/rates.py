"""The learning rate of each parameter, and how all of them change over a training.

Discriminative rates and slanted triangles are Howard & Ruder's (2018): what lies deeper is more
general and moves less; rates rise fast and fall slowly.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from training.layers import is_new, layer_groups
from training.models import unwrapped
from training.recipe import Recipe

DISCRIMINATIVE = ("discriminative", "gradual")
WRAPPING = "base_model.model."  # what PEFT puts before the names of the model inside
SLANTED = "slanted_triangular"
SLANTED_LOWEST = 32  # the highest rate is that many times the lowest; Howard & Ruder's `ratio`


def learning_rates(model: Any, recipe: Recipe) -> dict[str, float]:
    """Name -> rate at its peak, of every parameter that may move.

    New layers learn at `head_learning_rate` (0: like the layer below them), a pooler that the base
    brings along does not; with discriminative rates each layer learns `layer_decay` times slower
    than the one above it.
    """
    plain = unwrapped(model)
    below = _by_layers(plain, recipe) if recipe.strategy in DISCRIMINATIVE else {}
    new = recipe.head_learning_rate or recipe.learning_rate
    rates = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            own = name.removeprefix(WRAPPING)
            rates[name] = new if is_new(plain, own) else below.get(own, recipe.learning_rate)
    return rates


def _by_layers(model: Any, recipe: Recipe) -> dict[str, float]:
    *layers, _ = layer_groups(model)
    rates: dict[str, float] = {}
    for below, names in enumerate(reversed(layers)):
        rates |= dict.fromkeys(names, recipe.learning_rate / recipe.layer_decay**below)
    return rates


def parameter_groups(model: Any, recipe: Recipe, decaying: set[str]) -> list[dict[str, Any]]:
    """Trainable parameters by two questions: at which rate, and with weight decay or without.

    decaying: names of the parameters with weight decay
    """
    rates = learning_rates(model, recipe)
    groups: dict[tuple[float, bool], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if name in rates:
            groups.setdefault((rates[name], name in decaying), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (rate, decays), parameters in groups.items()
    ]


def has_own_rates(recipe: Recipe) -> bool:
    """Whether some parameters learn faster than others."""
    return bool(recipe.head_learning_rate) or recipe.strategy in DISCRIMINATIVE


def schedule_of(recipe: Recipe) -> str:
    """The schedule that the recipe names, or the one that its strategy was published with."""
    return recipe.schedule or (SLANTED if recipe.strategy in DISCRIMINATIVE else "linear")


def slanted_triangular(step: int, steps: int, warmup_ratio: float) -> float:
    """Share of the highest rate at `step` of `steps` (Howard & Ruder 2018, equation 3).

    It rises in a straight line over `warmup_ratio` of the training, then falls to 1/32.
    """
    cut = max(1, int(steps * warmup_ratio))
    progress = step / cut if step < cut else max(0.0, 1 - (step - cut) / max(1, steps - cut))
    return (1 + progress * (SLANTED_LOWEST - 1)) / SLANTED_LOWEST


class RatesOfRecipe:
    """For a Trainer with a `recipe`: its parameter groups and its schedule."""

    recipe: Recipe
    model: Any
    optimizer: Any
    lr_scheduler: Any

    def create_optimizer(self, *arguments: Any) -> Any:
        if self.optimizer is None and has_own_rates(self.recipe):
            decaying = set(self.get_decay_parameter_names(self.model))  # type: ignore[attr-defined]
            groups = parameter_groups(self.model, self.recipe, decaying)
            self.optimizer = torch.optim.AdamW(groups, fused=True)
        return super().create_optimizer(*arguments)  # type: ignore[misc]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None and schedule_of(self.recipe) == SLANTED:
            share = partial(
                slanted_triangular,
                steps=num_training_steps,
                warmup_ratio=self.recipe.warmup_ratio,
            )
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, share)
        return super().create_scheduler(num_training_steps, optimizer)  # type: ignore[misc]
