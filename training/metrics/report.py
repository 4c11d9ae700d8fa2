"""All figures of one model on labelled rows, in one record.

    measured = measure(Ran(task, rows, encoded, outputs), out_of_scope)
    measured.record["figures"]["macro_f1"]       # {"value": 0.91, "ci_low": 0.90, "ci_high": 0.92}

Every value is a fraction (BLEU too), but for perplexity. Intervals are 95 % bootstrap intervals
(Efron 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.generate_summary import GenerateSummary
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from services.tasks.summarize import Summarize
from training.calibration_error import calibration
from training.evaluate import (
    Evaluation,
    agreement,
    is_exact,
    paired_loss,
    references_of,
    score,
    score_summaries,
    summary_length,
)
from training.metrics.classes import class_table, decide, headline, micro
from training.metrics.confusion import Confusion, confusion
from training.metrics.perplexity import perplexity
from training.metrics.slices import audit
from training.metrics.texts import text_figures
from training.weak_spots import weak_spots


@dataclass(frozen=True)
class Ran:
    """Rows and what a model made of them.

    texts: of one that writes, the summaries, where they are there already
    losses: (rows, 2) of `training.metrics.perplexity`, where it could tell
    """

    task: Task
    rows: Sequence[Any]
    encoded: Sequence[Encoded]
    outputs: Sequence[Sequence[Outputs]]
    texts: Sequence[str] | None = None
    losses: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Measured:
    """record: for JSON; evaluation: the task's own metric, for comparisons; confusion: to draw"""

    record: dict[str, Any]
    evaluation: Evaluation
    confusion: Confusion | None = None


def measure(
    ran: Ran,
    out_of_scope: str = "",
    summary_sentences: int = 3,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Measured:
    """`groups`: column -> the group of each row."""
    if isinstance(ran.task, Classify):
        return _classified(ran, out_of_scope, groups or {})
    if isinstance(ran.task, AnswerQuestions):
        return _answered(ran, groups or {})
    if isinstance(ran.task, Summarize | GenerateSummary):
        return _summarized(ran, summary_sentences, groups or {})
    raise TypeError(f"no figures for {type(ran.task).__name__}")


def _classified(ran: Ran, out_of_scope: str, groups: Mapping[str, Sequence[str]]) -> Measured:
    task, rows = ran.task, ran.rows
    assert isinstance(task, Classify)
    evaluation = score(task, rows, ran.encoded, ran.outputs, out_of_scope)
    decisions = decide(task, rows, ran.encoded, ran.outputs, out_of_scope)
    inside = [not out_of_scope or row.labels[0] != out_of_scope for row in rows]
    kept = {
        column: [group for group, known in zip(values, inside, strict=True) if known]
        for column, values in groups.items()
    }
    record = {
        "metric": evaluation.record(),
        "figures": headline(decisions),
        "classes": class_table(decisions),
        **_common(ran, evaluation, out_of_scope),
        **_slices(micro(decisions), kept),
    }
    if task.settings.multi_label:
        return Measured(record, evaluation)
    found = confusion(task, rows, ran.encoded, ran.outputs, out_of_scope)
    return Measured({**record, "confusion": found.record()}, evaluation, found)


def _answered(ran: Ran, groups: Mapping[str, Sequence[str]]) -> Measured:
    evaluation = score(ran.task, ran.rows, ran.encoded, ran.outputs)
    exact = np.array(
        [is_exact(answer, row) for answer, row in zip(evaluation.answers, ran.rows, strict=True)]
    )
    matches = Evaluation("exact_match", len(exact), lambda rows: float(exact[rows].mean()), [])
    record = {
        "metric": evaluation.record(),
        "figures": {"f1": _figure(evaluation), "exact_match": _figure(matches)},
        **_common(ran, evaluation),
        **_slices(evaluation, groups),
    }
    return Measured(record, evaluation)


def _summarized(ran: Ran, summary_sentences: int, groups: Mapping[str, Sequence[str]]) -> Measured:
    texts, answers = _summaries(ran, summary_sentences)
    evaluation = score_summaries(ran.rows, texts, answers)
    figures = text_figures(texts, [references_of(row) for row in ran.rows])
    if ran.losses is not None:
        figures["perplexity"] = perplexity(ran.losses)
    record: dict[str, Any] = {"metric": evaluation.record(), "figures": figures}
    if ran.outputs and isinstance(ran.task, Summarize):
        record |= _common(ran, evaluation)
    return Measured({**record, **_slices(evaluation, groups)}, evaluation)


def _summaries(ran: Ran, summary_sentences: int) -> tuple[list[str], list[Any] | None]:
    """(summaries, what is compared for agreement where that is not the summary itself)"""
    if ran.texts is not None:
        return list(ran.texts), None
    if isinstance(ran.task, Summarize):
        results = [
            ran.task.decode(item, out, max_sentences=summary_length(row, summary_sentences))
            for row, item, out in zip(ran.rows, ran.encoded, ran.outputs, strict=True)
        ]
        starts = [tuple(sentence["start"] for sentence in one["sentences"]) for one in results]
        return [one["summary"] for one in results], starts
    assert isinstance(ran.task, GenerateSummary)
    written = [ran.task.decode(i, out) for i, out in zip(ran.encoded, ran.outputs, strict=True)]
    return [one["summary"] for one in written], None


def _common(ran: Ran, evaluation: Evaluation, out_of_scope: str = "") -> dict[str, Any]:
    everything = ran.task, ran.rows, ran.encoded, ran.outputs
    errors = calibration(*everything, out_of_scope)
    spots = weak_spots(ran.task, ran.rows, evaluation, ran.encoded, ran.outputs, out_of_scope)
    return {"calibration": [error.record() for error in errors], "weak_spots": spots}


def _slices(evaluation: Evaluation, groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    if not groups:
        return {}
    return {"slices": {column: audit(evaluation, names) for column, names in groups.items()}}


def _figure(evaluation: Evaluation) -> dict[str, float]:
    low, high = evaluation.interval()
    return {"value": evaluation.value, "ci_low": low, "ci_high": high}


def against(ours: Measured, theirs: Measured) -> dict[str, Any]:
    """How far we are above (below: negative) the other on the same rows, and how often both agree.

    Paired bootstrap (Efron & Tibshirani 1993): the interval is of the difference.
    """
    gain, low, high = paired_loss(ours.evaluation, theirs.evaluation)
    return {
        "metric": ours.evaluation.metric,
        "value": theirs.evaluation.value,
        "gain": {"value": gain, "ci_low": low, "ci_high": high},
        "agreement": agreement(ours.evaluation, theirs.evaluation),
    }
