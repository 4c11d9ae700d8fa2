"""A model's score on dev rows: what chooses its best step.

score = dev_scorer(task, rows, recipe)
metric, value = score(model)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.tasks.base import Encoded, Outputs
from services.tasks.kinds import Task
from training.decoding import choose_decoding
from training.evaluate import run, score
from training.fit import Scorer
from training.models import TorchRunner
from training.recipe import Recipe


def dev_scorer(task: Task, rows: Sequence[Any], recipe: Recipe) -> Scorer:
    """Score a model on dev, with the decoding that suits it best there."""

    def dev_score(model: Any) -> tuple[str, float]:
        infer = TorchRunner(model, recipe.kind, task.tokenizer.pad_id, bf16=recipe.bf16)
        return decoded_score(task, rows, recipe, *run(task, rows, infer))

    return dev_score


def decoded_score(
    task: Task,
    rows: Sequence[Any],
    recipe: Recipe,
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
) -> tuple[str, float]:
    """(metric, value) of windows that have been run already."""
    settings = (recipe.out_of_scope, recipe.summary_sentences)
    chosen = choose_decoding(task, rows, encoded, outputs, *settings)
    found = score(chosen, rows, encoded, outputs, *settings)
    return found.metric, found.value
