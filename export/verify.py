"""The build gate: does a graph still say what the one before it said?

On sample texts that ship: the fp32 graph against torch (max-abs 1e-4, and the same answer unless
the two best were closer than 2e-4), int8 and fp16 against fp32 (agreement as the card says).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from services.errors import TransferError
from services.manifest import Parity
from services.tasks.base import Encoded, Outputs, softmax
from services.tasks.classify import Classify
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions, banded_sums
from services.tasks.zeroshot import ZeroShot
from training.evaluate import Infer, run

MAX_ABS = 1e-4
NEAR_TIE = 2e-4
MIN_ROWS = 100
FP16_AGREEMENT = 0.99


class GateError(TransferError):
    """A graph that differs from its parent by more than the gate allows; it is not published."""

    code = "gate"


def compare(task: Task, rows: Sequence[Any], reference: Infer, candidate: Infer) -> Parity:
    """Largest difference of the outputs, and the share of rows with the same answer."""
    encoded, expected = run(task, rows, reference)
    _, found = run(task, rows, candidate)
    largest = max(
        float(np.abs(one[name] - other[name]).max())
        for before, after in zip(expected, found, strict=True)
        for one, other in zip(before, after, strict=True)
        for name in one
    )
    same = [
        answer_of(task, item, before) == answer_of(task, item, after)
        or near_tie(task, item, before)
        for item, before, after in zip(encoded, expected, found, strict=True)
    ]
    return Parity(max_abs=largest, agreement=sum(same) / len(same), n=len(rows))


def with_labels(task: Task, rows: Sequence[Any]) -> Task:
    """Zero-shot needs label names to answer; the sample rows' own labels do."""
    if not isinstance(task, ZeroShot):
        return task
    names = sorted({label.replace("_", " ") for row in rows for label in row.labels})
    return ZeroShot(task.tokenizer, replace(task.settings, labels=names))


def answer_of(task: Task, item: Encoded, outputs: Sequence[Outputs]) -> Any:
    """What the user would see: the label(s), the span, or the chosen sentences."""
    if isinstance(task, ZeroShot):
        return task.decode(item, outputs)["label"]  # type: ignore[arg-type]
    if isinstance(task, AnswerQuestions):
        span = task.best_spans(item, outputs)[0]
        return span.document, span.start, span.end
    if isinstance(task, Classify):
        result = task.decode(item, outputs)
        return tuple(sorted(result.get("chosen", [result["label"]])))
    return tuple(s["start"] for s in task.decode(item, outputs)["sentences"])  # type: ignore[arg-type]


def near_tie(task: Task, item: Encoded, outputs: Sequence[Outputs]) -> bool:
    """Whether the two best answers are closer than NEAR_TIE, so that either may win."""
    if isinstance(task, AnswerQuestions):
        return _closest(_span_scores(task, item, outputs), 1) < NEAR_TIE
    if isinstance(task, ZeroShot):
        scores = task.decode(item, outputs, top_k=2)["scores"]  # type: ignore[arg-type]
        return _closest([entry["score"] for entry in scores], 1) < NEAR_TIE
    if isinstance(task, Classify):
        if task.settings.multi_label:
            found = task.scores(item, outputs)
            return bool((np.abs(found - task.thresholds()) < NEAR_TIE).any())
        # Without the share that is kept for "none of these": where it is large all scores are near.
        return _closest(softmax(task.logits(item, outputs)), 1) < NEAR_TIE
    sentences = task.scores(item, outputs)  # type: ignore[arg-type]
    return _closest(sentences, task.settings.max_sentences) < NEAR_TIE


def _closest(scores: Any, places: int) -> float:
    """The smallest step down from one of the `places` best scores; infinite if all are chosen."""
    best = np.sort(np.asarray(scores))[::-1][: places + 1]
    return float(-np.diff(best).max()) if len(best) > places else float("inf")


def _span_scores(task: AnswerQuestions, item: Encoded, outputs: Sequence[Outputs]) -> list[float]:
    """The two best spans of every window, overlapping ones too: either of them may win."""
    scores: list[float] = []
    for window, output in zip(item.windows, outputs, strict=True):
        content = slice(*window.content)
        start, end = output["start_logits"], output["end_logits"]
        sums = banded_sums(start[content], end[content], task.settings.max_answer_tokens)
        scores += (np.sort(sums.ravel())[-2:] - (start[0] + end[0])).tolist()
    return scores


def require_parity(name: str, parity: Parity) -> None:
    """Gate of the fp32 graph; raises GateError."""
    if parity.max_abs > MAX_ABS or parity.agreement < 1.0:
        raise GateError(
            f"{name} differs from torch by {parity.max_abs:.1e} and agrees on "
            f"{parity.agreement:.1%} of {parity.n} texts; expected {MAX_ABS:.0e} and 100 %.",
            "Report this with the output of `transfer doctor`.",
        )


def require_agreement(name: str, parity: Parity, floor: float) -> None:
    """Gate of int8 and fp16 graphs; raises GateError."""
    if parity.agreement < floor:
        raise GateError(
            f"{name} agrees with fp32 on {parity.agreement:.1%} of {parity.n} texts; "
            f"expected at least {floor:.1%}.",
            "Report this with the output of `transfer doctor`; serve the fp32 variant meanwhile.",
        )
