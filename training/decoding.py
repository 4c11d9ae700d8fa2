"""How logits become answers, chosen on dev: calibrated scores, then thresholds on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.kinds import Task
from training.calibration import OUT_OF_SCOPE_SHARE, calibrate
from training.data import LabelledText
from training.evaluate import class_scores, truth_matrix

GRID = np.linspace(0.01, 0.99, 99)


def choose_decoding(
    task: Task,
    rows: Sequence[Any],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
    out_of_scope: str = "",
) -> Task:
    """The task with the settings that serve `rows` best."""
    task = calibrate(task, rows, encoded, outputs, out_of_scope)
    if isinstance(task, Classify) and task.settings.multi_label:
        thresholds = label_thresholds(
            truth_matrix(rows, task.settings.labels), class_scores(task, encoded, outputs)
        )
        settings: Any = replace(task.settings, thresholds=[round(float(t), 3) for t in thresholds])
        return Classify(task.tokenizer, settings)
    if isinstance(task, Classify):
        threshold = abstain_threshold(
            task, rows, class_scores(task, encoded, outputs), out_of_scope
        )
        return Classify(task.tokenizer, replace(task.settings, threshold=threshold))
    return task


def label_thresholds(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(labels,) the threshold of the grid with the best F1 for each label.

    Of equally good ones the nearest to 0.5: a label that dev never shows must not be chosen always.
    """
    hits = np.stack([(truth & (scores >= t)).sum(axis=0) for t in GRID])
    chosen = np.stack([(scores >= t).sum(axis=0) for t in GRID])
    f1 = 2.0 * hits / np.maximum(chosen + truth.sum(axis=0), 1)
    from_middle = np.abs(GRID - 0.5)[:, None]
    return np.asarray(GRID[(f1 - 1e-9 * from_middle).argmax(axis=0)])


def abstain_threshold(
    task: Classify, rows: Sequence[LabelledText], scores: NDArray[np.float64], out_of_scope: str
) -> float:
    """Weighs wrong answers inside the scope against answers given outside of it.

    Of the thresholds within one standard error of the best (Breiman et al. 1984) the nearest to
    0.5, where calibrated scores say that an answer is as likely right as wrong: a few hundred rows
    cannot tell the others apart.
    """
    truth = np.array([row.labels[0] for row in rows])
    outside = truth == out_of_scope
    if not out_of_scope or not outside.any() or outside.all():
        return 0.0
    best = scores.max(axis=1)
    right = np.array(task.settings.labels)[scores.argmax(axis=1)] == truth
    answered = np.array([(right & (best >= t))[~outside].mean() for t in GRID])
    refused = np.array([(best < t)[outside].mean() for t in GRID])
    inside_share = 1 - OUT_OF_SCOPE_SHARE
    value = inside_share * answered + OUT_OF_SCOPE_SHARE * refused
    top = int(np.argmax(value))
    error = np.hypot(
        inside_share * _standard_error(answered[top], int((~outside).sum())),
        OUT_OF_SCOPE_SHARE * _standard_error(refused[top], int(outside.sum())),
    )
    as_good = GRID[value >= value[top] - error]
    return round(float(as_good[np.abs(as_good - 0.5).argmin()]), 3)


def _standard_error(share: float, n: int) -> float:
    """With one right and one wrong row more, so that a few rows without a fault prove little."""
    smoothed = (share * n + 1) / (n + 2)
    return float(np.sqrt(smoothed * (1 - smoothed) / n))
