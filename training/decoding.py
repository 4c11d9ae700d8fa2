"""How logits become answers, chosen on dev: thresholds, and when "none of these" is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from training.data import LabelledText, Question
from training.evaluate import class_scores, truth_matrix

OUT_OF_SCOPE_SHARE = 0.2  # how much of the traffic is taken to be outside of all classes
GRID = np.linspace(0.05, 0.95, 91)


def choose_decoding(
    task: Task,
    rows: Sequence[Any],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
    out_of_scope: str = "",
) -> Task:
    """The task with the settings that serve `rows` best."""
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
    if isinstance(task, AnswerQuestions):
        return _choose_null(task, rows, encoded, outputs)
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
    """Weighs wrong answers inside the scope against answers given outside of it."""
    truth = np.array([row.labels[0] for row in rows])
    outside = truth == out_of_scope
    if not out_of_scope or not outside.any():
        return 0.0
    best = scores.max(axis=1)
    right = np.array(task.settings.labels)[scores.argmax(axis=1)] == truth
    value = [
        (1 - OUT_OF_SCOPE_SHARE) * (right & (best >= t))[~outside].mean()
        + OUT_OF_SCOPE_SHARE * (best < t)[outside].mean()
        for t in GRID
    ]
    return round(float(GRID[int(np.argmax(value))]), 3)


def _choose_null(
    task: AnswerQuestions,
    rows: Sequence[Question],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
) -> AnswerQuestions:
    """Platt scaling (1999) of the margin: at a score of 0.5 an answer is as likely as none."""
    answerable = np.array([bool(row.answers) for row in rows])
    if answerable.all() or not answerable.any():
        return task
    margins = np.array(
        [task.best_spans(item, out)[0].margin for item, out in zip(encoded, outputs, strict=True)]
    )
    fitted = LogisticRegression(class_weight="balanced").fit(margins[:, None], answerable)
    slope = max(float(fitted.coef_[0, 0]), 1e-3)
    settings = replace(
        task.settings,
        null_bias=round(-float(fitted.intercept_[0]) / slope, 4),
        temperature=round(1.0 / slope, 4),
    )
    return AnswerQuestions(task.tokenizer, settings)
