"""Contrastive tuning for few examples, in the two steps of SetFit (Tunstall et al. 2022).

First the encoder learns which texts belong together, then a logistic regression over the embeddings
is the classifier. A batch is made of pairs of one class, and each text is to be nearer to those of
its class than to all the others (Khosla et al. 2020). SetFit draws cosines to 1 and to 0 instead,
pair by pair: on a base that was taught sentences by contrast, as the embedded one, that spoils more
than ten examples a class can teach, since texts of other classes are not equally unlike.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.utils.data import Sampler

from training.dev_score import dev_scorer
from training.features import OUTSIDE, Feature, collate
from training.fit import Scorer, TaskTrainer, Windows, callbacks, train, training_arguments
from training.models import TorchRunner, model_inputs
from training.pooling import pool
from training.record import Fit
from training.strategies.job import Job
from training.strategies.prototypes import Floats, set_classifier

TEMPERATURE = 0.1  # of the cosines
LOGISTIC_C = 10.0  # the inverse of the regularization, for embeddings of length 1


class Pairs(Sampler[int]):
    """Every window once an epoch, each followed by another one of its class, drawn by seed.

    A window that is alone in its class is its own partner; dropout makes two of it, and without
    dropout it is only held apart from the others.
    """

    def __init__(self, labels: Sequence[int], seed: int) -> None:
        self.labels = labels
        self.seed = seed
        self.epoch = 0
        self.members: dict[int, list[int]] = defaultdict(list)
        for index, label in enumerate(labels):
            self.members[label].append(index)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 2 * len(self.labels)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, self.epoch])
        for index in generator.permutation(len(self.labels)).tolist():
            others = [other for other in self.members[self.labels[index]] if other != index]
            yield index
            yield others[int(generator.integers(len(others)))] if others else index


class ContrastiveTrainer(TaskTrainer):
    """Who belongs to whom in a batch, instead of the classifier's loss."""

    def _loss(self, model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        encoder = model.base_model
        encoded = encoder(**{name: batch[name] for name in model_inputs(encoder)})
        vectors = pool(encoded.last_hidden_state, batch["attention_mask"])
        return contrastive_loss(vectors, batch["targets"])

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        labels = [int(feature.targets["targets"]) for feature in self.features]
        return Pairs(labels, self.args.seed)


def contrastive_loss(vectors: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of a text's classmates among all other texts (Khosla et al. 2020, equation 2).

    vectors: (texts, width); labels: (texts,). Cosines over `TEMPERATURE` are the logits; a text
    without a classmate is only one of the others. 0 where no text has one.
    """
    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    logits = (unit @ unit.T / TEMPERATURE).masked_fill(itself, -torch.inf)
    surprise = torch.logsumexp(logits, dim=-1, keepdim=True) - logits
    same = (labels[:, None] == labels) & ~itself
    counts = same.sum(dim=-1)
    if not counts.any():
        return vectors.sum() * 0.0
    sums = surprise.masked_fill(~same, 0.0).sum(dim=-1)
    return (sums / counts.clamp(min=1))[counts > 0].mean()


def fit_contrastive(model: Any, job: Job) -> Fit:
    """Tune the encoder by pairs; each dev score comes with a classifier of its own."""
    recipe = job.recipe
    inside = [f for f in job.windows if int(f.targets["targets"]) != OUTSIDE]
    trainer = ContrastiveTrainer(
        recipe,
        _scorer(job, inside),
        False,
        inside,
        model=model,
        args=training_arguments(recipe, job.out / "steps", 2 * len(inside), job.progress),
        train_dataset=Windows(inside),
        eval_dataset=Windows(inside[:1]),
        data_collator=partial(_collate, inside, job.pad_id, model_inputs(model)),
        callbacks=callbacks(recipe),
    )
    tokens = 2 * sum(len(feature.window) for feature in inside)
    return train(trainer, recipe, job.out, tokens)


def _collate(
    features: Sequence[Feature], pad_id: int, inputs: Sequence[str], indices: Sequence[int]
) -> dict[str, Tensor]:
    return collate([features[i] for i in indices], pad_id, inputs)


def _scorer(job: Job, features: Sequence[Feature]) -> Scorer:
    score = dev_scorer(job.task, job.dev, job.recipe)

    def dev_score(model: Any) -> tuple[str, float]:
        set_classifier(model, *logistic_layer(*_embedded(model, job, features)))
        return score(model)

    return dev_score


def _embedded(
    model: Any, job: Job, features: Sequence[Feature]
) -> tuple[Floats, np.ndarray[Any, Any]]:
    """((windows, width) of length 1, (windows,) labels) by the encoder as it is now."""
    runner = TorchRunner(model.base_model, "zero-shot", job.pad_id, bf16=job.recipe.bf16)
    found = runner([feature.window for feature in features])
    vectors = np.stack([out["last_hidden_state"].mean(axis=0) for out in found]).astype(np.float64)
    labels = np.array([int(feature.targets["targets"]) for feature in features])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels


def logistic_layer(vectors: Floats, labels: np.ndarray[Any, Any]) -> tuple[Floats, Floats]:
    """((labels, width), (labels,)) of a logistic regression on embeddings of length 1."""
    with warnings.catch_warnings():  # one example a class is what was asked for
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        found = LogisticRegression(C=LOGISTIC_C, max_iter=1000).fit(vectors, labels)
    weight, bias = found.coef_, found.intercept_
    if len(weight) == 1:  # scikit-learn keeps one row for two classes: of the second
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias
