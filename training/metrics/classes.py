"""Classifiers class by class: precision, recall, F1, AUC, and macro figures with intervals.

    decisions = decide(task, rows, encoded, outputs, out_of_scope)
    class_table(decisions), headline(decisions)

Rows out of scope are left out here, as are abstentions: what those cost is told by the evaluation
itself (`training.evaluate`) and by the confusion matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from training.evaluate import Evaluation, class_scores, label_f1, truth_matrix
from training.rows import LabelledText

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Figures = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Decisions:
    """What a classifier said about n rows with L labels.

    truth, chosen: (n, L); exactly one of a row where `several` is False
    scores: (n, L) in 0..1
    """

    labels: Sequence[str]
    truth: Bools
    chosen: Bools
    scores: Floats
    several: bool


def decide(
    task: Classify,
    rows: Sequence[LabelledText],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
    out_of_scope: str = "",
) -> Decisions:
    """The rows in scope, each with its best label, or with all labels above their thresholds."""
    labels, several = task.settings.labels, task.settings.multi_label
    scores = class_scores(task, encoded, outputs)
    truth = truth_matrix(rows, labels)
    if several:
        return Decisions(labels, truth, scores >= task.thresholds(), scores, True)
    inside = np.array([row.labels[0] != out_of_scope for row in rows])
    chosen = np.zeros_like(truth)
    chosen[np.arange(len(rows)), scores.argmax(axis=1)] = True
    return Decisions(labels, truth[inside], chosen[inside], scores[inside], False)


def class_table(decisions: Decisions) -> list[dict[str, Any]]:
    """One record a label, in their order: precision, recall, F1, AUC, and its number of rows.

    auc: one against the rest (Fawcett 2006); None where the rows are all of the label, or none is
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        decisions.truth, decisions.chosen, average=None, zero_division=0.0
    )
    return [
        {
            "label": label,
            "n": int(support[i]),
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "auc": _auc(decisions.truth[:, i], decisions.scores[:, i]),
        }
        for i, label in enumerate(decisions.labels)
    ]


def _auc(truth: Bools, scores: Floats) -> float | None:
    return float(roc_auc_score(truth, scores)) if 0 < truth.sum() < len(truth) else None


def headline(decisions: Decisions) -> Figures:
    """The figures over all classes, most of them with a 95 % bootstrap interval."""
    measures = {
        "macro_f1": lambda rows: _macro(decisions, rows),
        "micro_f1" if decisions.several else "accuracy": lambda rows: _micro(decisions, rows),
    }
    n = len(decisions.truth)
    found: Figures = {}
    for name, measure in measures.items():
        evaluation = Evaluation(name, n, measure, [])
        low, high = evaluation.interval()
        found[name] = {"value": evaluation.value, "ci_low": low, "ci_high": high}
    average = "samples" if decisions.several else "macro"
    precision, recall, _, _ = precision_recall_fscore_support(
        decisions.truth, decisions.chosen, average="macro", zero_division=0.0
    )
    found["macro_precision"] = {"value": float(precision)}
    found["macro_recall"] = {"value": float(recall)}
    if decisions.several:
        exact = (decisions.truth == decisions.chosen).all(axis=1)
        found["exact_match"] = {"value": float(exact.mean())}
        found[f"{average}_f1"] = {"value": _samples_f1(decisions)}
    areas = [row["auc"] for row in class_table(decisions) if row["auc"] is not None]
    if areas:
        found["auc"] = {"value": float(np.mean(areas)), "of_labels": len(areas)}
    return found


def _macro(decisions: Decisions, rows: NDArray[np.int64]) -> float:
    """Mean F1 of the labels, of one-label rows those that are there or were said, as scikit-learn
    does it."""
    truth, chosen = decisions.truth[rows], decisions.chosen[rows]
    f1 = label_f1(truth, chosen)
    if decisions.several:
        return float(f1.mean())
    return float(f1[truth.any(axis=0) | chosen.any(axis=0)].mean())


def _micro(decisions: Decisions, rows: NDArray[np.int64]) -> float:
    """F1 over all decisions together; with one label a row, the accuracy."""
    truth, chosen = decisions.truth[rows], decisions.chosen[rows]
    hits = float((truth & chosen).sum())
    return 2.0 * hits / max(float(truth.sum() + chosen.sum()), 1.0)


def _samples_f1(decisions: Decisions) -> float:
    """Mean F1 of the rows; 1 where nothing was there and nothing was chosen."""
    hits = (decisions.truth & decisions.chosen).sum(axis=1)
    both = decisions.truth.sum(axis=1) + decisions.chosen.sum(axis=1)
    return float(np.where(both > 0, 2.0 * hits / np.maximum(both, 1), 1.0).mean())


def micro(decisions: Decisions) -> Evaluation:
    """For groups of rows: in a small one most labels are absent, and a macro mean says little."""
    name = "micro_f1" if decisions.several else "accuracy"
    n = len(decisions.truth)
    return Evaluation(name, n, lambda rows: _micro(decisions, rows), [])
