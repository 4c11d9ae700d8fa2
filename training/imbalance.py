"""When some labels have few rows: weights of labels, focal loss, and balanced sampling.

Counts are of training windows. Of several labels a window belongs to each that it has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers.trainer_pt_utils import LengthGroupedSampler

from training.features import Feature

EFFECTIVE_BETA = 0.999  # rows that say the same: the more a label has, the less each adds
Floats = NDArray[np.float64]


def label_counts(features: Sequence[Feature], labels: int) -> Floats:
    """(labels,) windows of each label, at least 1."""
    counts = np.zeros(labels)
    for feature in features:
        for label in _labels(feature):
            counts[label] += 1
    return np.maximum(counts, 1.0)


def _labels(feature: Feature) -> list[int]:
    """Of one window: none where it is outside of all, or unlabelled."""
    target = feature.targets["targets"]
    if target.ndim:
        return np.flatnonzero(target > 0).tolist()
    return [int(target)] if target >= 0 else []


def label_weights(way: str, counts: Floats) -> Floats:
    """(labels,) of mean 1: the weight of each label in the loss.

    balanced: the inverse of its count; effective: the inverse of its effective number of rows, by
    which the rarest do not outweigh all others (Cui et al. 2019)
    """
    weights = 1 / counts
    if way == "effective":
        weights = (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**counts)
    return np.asarray(weights / weights.mean(), np.float64)


def one_label_loss(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy, mean over rows by the weight of their label; 0 without rows.

    logits: (rows, labels); targets: (rows,); weights: (labels,)
    focal_gamma: a row of probability p counts (1 - p)**gamma (Lin et al. 2017)
    """
    losses = functional.cross_entropy(
        logits, targets, weight=weights, label_smoothing=label_smoothing, reduction="none"
    )
    if focal_gamma:
        right = functional.softmax(logits, dim=-1).gather(1, targets.unsqueeze(1)).squeeze(1)
        losses = losses * (1 - right) ** focal_gamma
    # A sum over no rows instead of a mean: a batch may hold none of one sort.
    if weights is None:
        return losses.sum() / max(len(targets), 1)
    return losses.sum() / weights[targets].sum().clamp(min=1e-9)


def several_labels_loss(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, focal_gamma: float = 0.0
) -> Tensor:
    """Binary cross-entropy, mean over rows and labels.

    logits, targets: (rows, labels); weights: (labels,) of rows that have the label and of rows
    that do not
    """
    losses = functional.binary_cross_entropy_with_logits(
        logits, targets, weight=weights, reduction="none"
    )
    if focal_gamma:
        scores = torch.sigmoid(logits)
        losses = losses * (targets - scores).abs() ** focal_gamma
    return losses.mean()


def row_shares(features: Sequence[Feature], counts: Floats) -> Floats:
    """(windows,) how likely each is drawn when all labels are equally likely; sums to 1.

    A window of several labels is as likely as its rarest makes it; one of none as the commonest.
    """
    shares = []
    for feature in features:
        known = [1 / counts[label] for label in _labels(feature)]
        shares.append(max(known, default=1 / counts.max()))
    return np.asarray(shares) / np.sum(shares)


class BalancedLengths(LengthGroupedSampler):
    """As many windows an epoch as there are, drawn so that labels are equally frequent.

    Rows of rare labels come several times. Batches are of similar length; each epoch is drawn anew
    by a seed of its own, as in `training.fit.SimilarLengths`.
    """

    def __init__(self, batch_size: int, lengths: Sequence[int], shares: Floats, seed: int) -> None:
        super().__init__(batch_size, lengths=list(lengths), generator=torch.Generator())
        self.all_lengths = list(lengths)
        self.shares = shares
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self):  # type: ignore[no-untyped-def]
        generator = np.random.default_rng([self.seed, self.epoch])
        drawn = generator.choice(len(self.shares), len(self.shares), p=self.shares)
        self.lengths = [self.all_lengths[i] for i in drawn]
        self.generator.manual_seed(self.seed + self.epoch)
        return iter([int(drawn[i]) for i in super().__iter__()])
