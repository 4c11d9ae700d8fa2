"""A class is the mean of its examples' embeddings (Snell et al. 2017): nothing is trained.

The distance to a mean is a linear layer over the embedding, so the result is a classifier like any
other. Embeddings have length 1, as those that zero-shot answers compare.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.dev_score import dev_scorer
from training.features import OUTSIDE
from training.record import Fit
from training.strategies.cached import encoder_states
from training.strategies.job import Job

SCALE = 10.0  # of squared distances; a temperature is chosen on dev after it
Floats = NDArray[np.float64]


def fit_prototypes(model: Any, job: Job) -> Fit:
    """Set the classifier from the class means of the training windows."""
    started = time.monotonic()
    vectors, labels = embeddings(model, job)
    set_classifier(model, *prototype_layer(class_means(vectors, labels)))
    score = dev_scorer(job.task, job.dev, job.recipe)(model)[1]
    tokens = sum(len(feature.window) for feature in job.windows)
    history = [{"step": 0, "score": score}]
    return Fit(time.monotonic() - started, 0, tokens, score, history)


def embeddings(model: Any, job: Job) -> tuple[Floats, NDArray[np.int64]]:
    """((windows, width) of length 1, (windows,) labels) of the training windows inside of scope."""
    recipe = job.recipe
    windows = [feature.window for feature in job.windows]
    states = encoder_states(
        model, recipe.kind, windows, job.pad_id, job.cache, job.identity, recipe.bf16
    )
    vectors = np.asarray(states.vectors, np.float64)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.array([int(feature.targets["targets"]) for feature in job.windows])
    inside = labels != OUTSIDE
    return vectors[inside], labels[inside]


def class_means(vectors: Floats, labels: NDArray[np.int64]) -> Floats:
    """(labels, width); every label has a row."""
    return np.stack([vectors[labels == label].mean(axis=0) for label in range(labels.max() + 1)])


def prototype_layer(means: Floats) -> tuple[Floats, Floats]:
    """((labels, width), (labels,)) of a layer that tells the nearest mean of a vector of length 1.

    -|x - c|^2 is 2cx - |c|^2 but for |x|^2, which all classes share.
    """
    return 2 * SCALE * means, -SCALE * (means**2).sum(axis=1)


def set_classifier(model: Any, weight: Floats, bias: Floats) -> None:
    """A linear layer for embeddings of length 1 into a classifier of `training.pooling`."""
    layer = model.classifier
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight / weight.shape[1] ** 0.5))
        layer.bias.copy_(torch.from_numpy(bias))
