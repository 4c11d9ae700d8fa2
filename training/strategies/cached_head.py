"""Training a head on cached features: the encoder reads each text once, epochs cost seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from services.tasks.base import Outputs
from services.windows import Window
from training.dev_score import decoded_score
from training.evaluate import encode_row
from training.features import Feature, collate, to_tensors
from training.fit import Scorer, TaskTrainer, Windows, callbacks, train, training_arguments
from training.models import TorchRunner, device_of, model_inputs, token_batches
from training.record import Fit
from training.strategies.cached import (
    ALL,
    Replay,
    States,
    encoder_states,
    replayed,
    what_the_head_reads,
)
from training.strategies.job import Job, fit_steps
from training.watching import watch, watching

MOST_BYTES = 8e9  # of features on the disk
STAGE_ONE = "head"


class HeadTrainer(TaskTrainer):
    """Gives the encoder's stand-in what the encoder once said of the batch."""

    def __init__(self, replay: Replay, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.replay = replay

    def _loss(self, model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        self.replay.states = batch["states"]
        return super()._loss(model, batch)


class HeadRunner(TorchRunner):
    """Outputs of the head for windows whose states are known, in their order."""

    def __init__(self, model: Any, replay: Replay, states: States, *arguments: Any) -> None:
        super().__init__(model, *arguments)
        self.replay = replay
        self.states = states

    def __call__(self, windows: Sequence[Window]) -> list[Outputs]:
        shown = self.states.shown(windows)
        results: list[Outputs] = [{} for _ in shown]
        self.model.eval()
        for batch in token_batches([len(window) for window in shown], self.batch_tokens):
            self.replay.states = self.states.batch(batch).to(device_of(self.model))
            feeds = to_tensors([shown[i] for i in batch], self.pad_id, self.inputs)
            for i, output in zip(batch, self._run(feeds), strict=True):
                results[i] = output
        self.model.train()
        return results


def fit_head(model: Any, job: Job) -> Fit:
    """Train the head alone, in place, and leave it at its best dev score.

    Features that would fill the disk (a reader's, of every token of many long texts) are computed
    again in every epoch; stderr says so.
    """
    if model.config.is_encoder_decoder:  # its head reads a decoder that reads the text again
        return fit_steps(model, job)
    if _bytes(model, job) > MOST_BYTES:
        print(
            f"{job.recipe.name}: features of {len(job.windows):,} windows would fill "
            f"{_bytes(model, job) / 1e9:.0f} GB; they are computed in every epoch instead.",
            file=sys.stderr,
        )
        return fit_steps(model, job)
    started = time.monotonic()
    recipe = job.recipe
    known = partial(_states, model, job)
    states = known([feature.window for feature in job.windows])
    encoded = [encode_row(job.task, row) for row in job.dev]
    dev_states = known([window for item in encoded for window in item.windows])
    features = _shown(job.windows, states)
    with replayed(model) as replay:
        inputs = model_inputs(model)
        runner = HeadRunner(model, replay, dev_states, recipe.kind, job.pad_id)
        trainer = HeadTrainer(
            replay,
            recipe,
            _scorer(job, runner, encoded),
            False,
            features,
            model=model,
            args=training_arguments(
                replace(recipe, gradient_checkpointing=False),
                job.out / "steps",
                len(features),
                job.progress,
            ),
            train_dataset=Windows(features),
            eval_dataset=Windows(features[:1]),
            data_collator=partial(_collate, features, states, job.pad_id, inputs),
            callbacks=callbacks(recipe),
        )
        read_s = time.monotonic() - started
        tokens = sum(len(feature.window) for feature in job.windows)
        trained = train(trainer, recipe, job.out, tokens)
    return replace(trained, seconds=trained.seconds + read_s)


def fit_two_stages(model: Any, job: Job) -> Fit:
    """The head on cached features, then everything from there.

    A head that knows its classes does not bend what lies below it while it learns them (Kumar et
    al. 2022).
    """
    recipe = job.recipe
    first = replace(
        recipe,
        strategy="head",
        epochs=recipe.head_epochs,
        max_steps=0,
        learning_rate=recipe.head_learning_rate or recipe.learning_rate,
        head_learning_rate=0.0,
        evaluations=1,
        patience=0,
    )
    out = job.out / "steps" / STAGE_ONE
    out.mkdir(parents=True, exist_ok=True)
    around = watch()
    with watching(around.report_to, country=around.country):  # callbacks see one course of steps
        head = fit_head(model, replace(job, recipe=first, out=out))
    rest = fit_steps(model, job)
    return replace(rest, seconds=head.seconds + rest.seconds)


def _states(model: Any, job: Job, windows: Sequence[Window]) -> States:
    kind, bf16 = job.recipe.kind, job.recipe.bf16
    return encoder_states(model, kind, windows, job.pad_id, job.cache, job.identity, bf16)


def _bytes(model: Any, job: Job) -> float:
    """Of the features of all training windows."""
    kept = what_the_head_reads(model, job.recipe.kind)
    tokens = sum(len(feature.window) if kept == ALL else 1 for feature in job.windows)
    return float(tokens * model.config.hidden_size * 4)


def _shown(features: Sequence[Feature], states: States) -> list[Feature]:
    windows = states.shown([feature.window for feature in features])
    return [
        Feature(window, feature.targets) for window, feature in zip(windows, features, strict=True)
    ]


def _collate(
    features: Sequence[Feature],
    states: States,
    pad_id: int,
    inputs: Sequence[str],
    indices: Sequence[int],
) -> dict[str, Tensor]:
    batch = collate([features[i] for i in indices], pad_id, inputs)
    return {**batch, "states": states.batch(indices)}


def _scorer(job: Job, runner: HeadRunner, encoded: Sequence[Any]) -> Scorer:
    def dev_score(model: Any) -> tuple[str, float]:
        flat = iter(runner([window for item in encoded for window in item.windows]))
        outputs = [[next(flat) for _ in item.windows] for item in encoded]
        return decoded_score(job.task, job.dev, job.recipe, encoded, outputs)

    return dev_score
