"""What a strategy is given to train a model with, and the way that most of them go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.tasks.kinds import Task
from training.dev_score import dev_scorer
from training.features import Feature
from training.fit import fit
from training.recipe import Recipe
from training.record import Fit


@dataclass(frozen=True)
class Job:
    """One training, but for its model.

    windows: of the training rows; dev: the rows that score it
    out: the checkpoint's folder, where a killed training goes on
    identity: digest of the base's weights; cache: folder for what an encoder says of texts, which
        other trainings on the same base may read
    """

    recipe: Recipe
    task: Task
    windows: Sequence[Feature]
    dev: Sequence[Any]
    out: Path
    identity: str
    cache: Path
    progress: bool = False

    @property
    def pad_id(self) -> int:
        return self.task.tokenizer.pad_id


@dataclass(frozen=True)
class Strategy:
    """prepare: the model to train, frozen, wrapped or partly new; fit: trains it in place"""

    prepare: Callable[[Any, Recipe], Any]
    fit: Callable[[Any, Job], Fit]


def fit_steps(model: Any, job: Job) -> Fit:
    """Every step reads the text through the whole model."""
    scorer = dev_scorer(job.task, job.dev, job.recipe)
    return fit(
        model,
        job.windows,
        job.recipe,
        job.out,
        scorer,
        job.pad_id,
        progress=job.progress,
    )
