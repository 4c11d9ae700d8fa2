"""The rows that a published variant gets most wrong, for a developer's screen.

    transfer errors intent variant=full-int8 data=clinc150/data_oos_plus.json most=20

What is seen here leads to probes (`export.probes`) in words of our own; none of it is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from export.measure import in_threads
from services.errors import UsageError
from services.lock import read_lock
from services.registry import variant_path
from services.runtime import Runtime
from services.tasks.classify import Classify
from services.tasks.summarize import Summarize
from training.evaluate import run, score, summary_length
from training.held_out import Exam

Fault = dict[str, Any]


def find_variant(lock: Path, model: str, variant: str) -> Runtime:
    """The published variant; raises UsageError with those that there are."""
    tags = read_lock(lock)
    if f"{model}/{variant}" not in tags:
        raise UsageError(
            f"{model}/{variant} is not published.", f"There are {', '.join(tags) or 'none'}."
        )
    return Runtime.load(variant_path(tags[f"{model}/{variant}"]))


def worst_rows(runtime: Runtime, exam: Exam, most: int) -> list[Fault]:
    """At most that many rows with an error, the worst first; equally bad ones by their score."""
    inside, outside = exam.rows, []
    if exam.out_of_scope:
        inside = [row for row in exam.rows if row.labels[0] != exam.out_of_scope]
        outside = [row for row in exam.rows if row.labels[0] == exam.out_of_scope]
    faults = [*_wrong(runtime, replace(exam, rows=inside)), *_answered(runtime, outside)]
    return sorted(faults, key=lambda fault: (fault["value"], -fault["score"]))[:most]


def _wrong(runtime: Runtime, exam: Exam) -> list[Fault]:
    """Rows whose metric, taken alone, is below 1."""
    task, rows = runtime.task, exam.rows
    if not rows:
        return []
    encoded, outputs = run(task, rows, in_threads(runtime))
    found = score(task, rows, encoded, outputs, "", exam.summary_sentences)
    several = isinstance(task, Classify) and task.settings.multi_label
    faults = []
    for index, (row, item, out) in enumerate(zip(rows, encoded, outputs, strict=True)):
        more = (
            {"max_sentences": summary_length(row, exam.summary_sentences)}
            if isinstance(task, Summarize)
            else {}
        )
        result = task.decode(item, out, **more)  # type: ignore[arg-type]
        value = (
            float(sorted(result["chosen"]) == sorted(row.labels))
            if several
            else found.measure(np.array([index]))
        )
        if value < 1:
            faults.append({"value": value, "score": _score(result), **_told(row, result)})
    return faults


def _answered(runtime: Runtime, rows: Sequence[Any]) -> list[Fault]:
    """Texts out of scope that got a label."""
    if not rows:
        return []
    encoded, outputs = run(runtime.task, rows, in_threads(runtime))
    results = [
        runtime.task.decode(item, out)  # type: ignore[arg-type]
        for item, out in zip(encoded, outputs, strict=True)
    ]
    return [
        {"value": 0.0, "score": result["score"], **_told(row, result)}
        for row, result in zip(rows, results, strict=True)
        if not result["abstained"]
    ]


def _score(result: dict[str, Any]) -> float:
    if "sentences" in result:
        return max((s["score"] for s in result["sentences"]), default=0.0)
    return float(result["score"])


def _told(row: Any, result: dict[str, Any]) -> Fault:
    """What was asked, what would be right, and what the model says."""
    if hasattr(row, "question"):
        right = row.answers[0][0] if row.answers else None
        return {
            "asked": f"{row.question} || {row.context}",
            "right": right,
            "says": result["answer"],
        }
    if hasattr(row, "labels"):
        says = ", ".join(result["chosen"]) if "chosen" in result else result["label"]
        return {"asked": row.text, "right": ", ".join(row.labels), "says": says}
    right = " ".join(row.references[:1]) or " ".join(row.sentences[i] for i in row.key)
    return {"asked": row.text, "right": right, "says": result["summary"]}


def shown(faults: Sequence[Fault]) -> str:
    """For people."""
    return "\n".join(
        f"{fault['score']:.2f} ({fault['value']:.2f})  says {fault['says']!r}, right is "
        f"{fault['right']!r}\n    {fault['asked']}"
        for fault in faults
    )
