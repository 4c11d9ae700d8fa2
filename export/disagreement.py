"""Where a variant and `full` disagree on labelled rows: who is right, which classes suffer.

    seen = {name: look(runtime, rows, out_of_scope) for name, runtime in ...}
    disagreement(seen["full"], seen["distilled-int8"])

Out: McNemar's test, calibration errors, every class (or slice) with what is kept of it, and the
worst examples. These hold the user's texts: they go into the user's report, and are taken out of
what is published.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.mcnemar import mcnemar_p
from services.compare import said
from services.runtime import Runtime
from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from training.calibration_error import calibration
from training.evaluate import (
    Evaluation,
    is_exact,
    label_f1,
    references_of,
    run,
    score,
    truth_matrix,
)
from training.weak_spots import weak_spots

Row = dict[str, Any]

WORST = 8
SHOWN_CHARACTERS = 400


@dataclass(frozen=True)
class Seen:
    """What one variant made of the rows.

    rows: those that count, without the ones out of scope; numbers: (rows,) which rows of the data
    they are; right: (rows,) whether each answer is right, None where answers are more or less good;
    seconds: of reading and running all rows
    """

    task: Task
    rows: Sequence[Any]
    numbers: Sequence[int]
    evaluation: Evaluation
    encoded: Sequence[Encoded]
    outputs: Sequence[Sequence[Outputs]]
    right: NDArray[np.bool_] | None
    calibration: Row | None
    slices: list[Row]
    seconds: float

    def values(self) -> NDArray[np.float64]:
        """(rows,) the metric of each row alone."""
        if self.right is not None:
            return self.right.astype(np.float64)
        return np.array([self.evaluation.measure(np.array([i])) for i in range(len(self.rows))])

    def result(self, index: int) -> Row:
        """What the user would see for one row."""
        return dict(self.task.decode(self.encoded[index], self.outputs[index]))  # type: ignore[arg-type]


def look(
    runtime: Runtime,
    rows: Sequence[Any],
    out_of_scope: str = "",
    summary_sentences: int = 3,
    labelled: bool = True,
    numbers: Sequence[int] | None = None,
) -> Seen:
    """Run every row once, on one thread, and keep what can be compared.

    labelled: whether the rows' labels are the model's; else only answers can be compared
    numbers: (rows,) which rows of the data these are, from 0; all of them without it
    """
    task = runtime.task
    started = time.perf_counter()
    encoded, outputs = run(task, rows, runtime.infer)
    seconds = time.perf_counter() - started
    found = score(task, rows, encoded, outputs, out_of_scope, summary_sentences)
    errors = calibration(task, rows, encoded, outputs, out_of_scope) if labelled else []
    slices: list[Row] = []
    if labelled and not isinstance(task, Classify):
        slices = weak_spots(task, rows, found, encoded, outputs)["slices"]
    inside = [i for i, row in enumerate(rows) if not _is_outside(row, out_of_scope)]
    numbers = range(len(rows)) if numbers is None else numbers
    kept = [rows[i] for i in inside]
    if labelled and isinstance(task, Classify):
        slices = _classes(task, kept, found)
    return Seen(
        task=task,
        rows=kept,
        numbers=[numbers[i] for i in inside],
        evaluation=found,
        encoded=[encoded[i] for i in inside],
        outputs=[outputs[i] for i in inside],
        right=_right(task, kept, found),
        calibration=errors[0].record() if errors else None,
        slices=slices,
        seconds=seconds,
    )


def _is_outside(row: Any, out_of_scope: str) -> bool:
    return bool(out_of_scope) and row.labels[0] == out_of_scope


def _right(task: Task, rows: Sequence[Any], found: Evaluation) -> NDArray[np.bool_] | None:
    if isinstance(task, Classify) and task.settings.multi_label:
        truth = truth_matrix(rows, task.settings.labels)
        return np.asarray((truth == _chosen(task, found)).all(axis=1))
    if isinstance(task, Classify):
        return np.array(
            [said == row.labels[0] for said, row in zip(found.answers, rows, strict=True)]
        )
    if isinstance(task, AnswerQuestions):
        return np.array(
            [is_exact(said, row) for said, row in zip(found.answers, rows, strict=True)]
        )
    return None


def _chosen(task: Classify, found: Evaluation) -> NDArray[np.bool_]:
    """(rows, labels) of the answers of several labels."""
    chosen = np.zeros((len(found.answers), len(task.settings.labels)), bool)
    for row, labels in enumerate(found.answers):
        chosen[row, list(labels)] = True
    return chosen


def _classes(task: Classify, rows: Sequence[Any], found: Evaluation) -> list[Row]:
    """Every class that has rows: recall of one label, F1 of several."""
    truth = truth_matrix(rows, task.settings.labels)
    counts = truth.sum(axis=0)
    if task.settings.multi_label:
        metric, values = "f1", label_f1(truth, _chosen(task, found))
    else:
        said = np.array([[s == name for name in task.settings.labels] for s in found.answers])
        metric, values = "recall", (truth & said).sum(axis=0) / np.maximum(counts, 1)
    return [
        {"by": "class", "of": name, "n": int(n), "metric": metric, "value": float(value)}
        for name, n, value in zip(task.settings.labels, counts, values, strict=True)
        if n
    ]


def disagreement(full: Seen, other: Seen, most: int = WORST) -> Row:
    """What `other` does not do as `full` does, on the same rows."""
    found: Row = {}
    if full.right is not None and other.right is not None:
        only_full = int((full.right & ~other.right).sum())
        only_other = int((other.right & ~full.right).sum())
        p = mcnemar_p(only_full, only_other)
        found["mcnemar"] = {"full_only": only_full, "variant_only": only_other, "p": p}
    if full.calibration and other.calibration:
        found["calibration_error"] = {
            "of": other.calibration["of"],
            "full": full.calibration["after"],
            "variant": other.calibration["after"],
        }
    found["classes"] = _kept(full.slices, other.slices)
    found["worst"] = _worst(full, other, most)
    return found


def _kept(full: Sequence[Row], other: Sequence[Row]) -> list[Row]:
    """Both values of every class, what is lost most first."""
    theirs = {(one["by"], one["of"]): one["value"] for one in other}
    pairs = [
        {"of": _name(one), "n": one["n"], "metric": one["metric"]}
        | {"full": one["value"], "variant": theirs[one["by"], one["of"]]}
        for one in full
        if (one["by"], one["of"]) in theirs
    ]
    return sorted(pairs, key=lambda one: (one["variant"] - one["full"], one["of"]))


def _name(one: Row) -> str:
    return str(one["of"] if one["by"] == "class" else f"{one['by']}: {one['of']}")


def _worst(full: Seen, other: Seen, most: int) -> list[Row]:
    """The rows that lose most, of equal ones those that the variant is surest of."""
    drops = full.values() - other.values()
    lost = np.flatnonzero(drops > 0)
    ranked = sorted(
        lost, key=lambda i: (-drops[i], -float(other.result(int(i)).get("score", 0.0)), i)
    )
    return [_example(full, other, int(index)) for index in ranked[:most]]


def _example(full: Seen, other: Seen, index: int) -> Row:
    row, one, two = full.rows[index], full.result(index), other.result(index)
    example = {"row": full.numbers[index], "asked": _shortened(asked(row))}
    example["right"] = _shortened(right(row))
    for name, result in (("full", one), ("variant", two)):
        example[name] = _shortened(said(result))
        if "score" in result:
            example[f"{name}_score"] = float(result["score"])
    return example


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def asked(row: Any) -> str:
    """What people see of a labelled row."""
    return f"{row.question} || {row.context}" if hasattr(row, "question") else str(row.text)


def right(row: Any) -> str:
    """What would be right."""
    if hasattr(row, "question"):
        return str(row.answers[0][0]) if row.answers else "(no answer)"
    if hasattr(row, "labels"):
        return ", ".join(row.labels) or "(none)"
    return references_of(row)[0]
