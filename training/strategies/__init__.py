"""Which parameters move, from where, and in what order: the strategies that a recipe can name.

scratch: everything moves, from random weights: the same shape without what it learned before
head: feature extraction; the pretrained part stays as it is, and its features are computed once
last_n: the head and the last `last_layers` layers
gradual: the head first, then one layer more at a time (`unfreeze_ratio`), with the rates of:
discriminative: everything moves, each layer `layer_decay` times slower than the one above it
reinit_top: everything moves; the last `reinit_layers` layers start from random weights
lora: low-rank changes of all linear layers; the head moves whole
full: everything moves, but for the embeddings when the recipe freezes them
two_stage: the head first, on cached features (`head_epochs`), then everything, as in full
prototypes: nothing moves; a class is the mean of its examples
contrastive: texts of one class are drawn together, others apart; then a logistic regression
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from training.energy import EnergyMeter, energy_of
from training.fit import ENERGY_EVERY_S
from training.layers import head_names
from training.processes import refuse_several
from training.recipe import Recipe
from training.record import Fit
from training.strategies.cached_head import fit_head, fit_two_stages
from training.strategies.contrastive import fit_contrastive
from training.strategies.freezing import full, head, last_n, lora, reinit_top, scratch
from training.strategies.job import Job, Strategy, fit_steps
from training.strategies.prototypes import fit_prototypes
from training.watching import watch

__all__ = ["STRATEGIES", "Job", "apply_strategy", "fit_by_strategy", "head_names"]

STRATEGIES: dict[str, Strategy] = {
    "scratch": Strategy(scratch, fit_steps),
    "head": Strategy(head, fit_head),
    "last_n": Strategy(last_n, fit_steps),
    "gradual": Strategy(full, fit_steps),
    "discriminative": Strategy(full, fit_steps),
    "reinit_top": Strategy(reinit_top, fit_steps),
    "lora": Strategy(lora, fit_steps),
    "full": Strategy(full, fit_steps),
    "two_stage": Strategy(full, fit_two_stages),
    "prototypes": Strategy(head, fit_prototypes),
    "contrastive": Strategy(full, fit_contrastive),
}


def apply_strategy(model: Any, recipe: Recipe) -> Any:
    """The model to train: frozen, wrapped or partly new as the recipe's strategy says.

    Raises UsageError where the base has fewer layers than the recipe names.
    """
    return STRATEGIES[recipe.strategy].prepare(model, recipe)


def fit_by_strategy(model: Any, job: Job) -> Fit:
    """Train what `apply_strategy` gave, in place.

    Raises UsageError for a strategy with steps of its own under torchrun.
    """
    fit = STRATEGIES[job.recipe.strategy].fit
    started = time.process_time()
    if fit is fit_steps:
        trained = fit(model, job)
        return replace(trained, cpu_seconds=time.process_time() - started)
    refuse_several(f"Strategy {job.recipe.strategy}")
    with EnergyMeter(ENERGY_EVERY_S) as meter:  # of all its parts, features included
        trained = fit(model, job)
    return replace(
        trained,
        energy=energy_of(meter, watch().country),
        cpu_seconds=time.process_time() - started,
    )
