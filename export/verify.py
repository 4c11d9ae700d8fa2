"""The build gate: does a graph still say what the one before it said?

On sample texts that ship: the fp32 graph against torch (max-abs 1e-4, and the same answer unless
the two best were closer than 2e-4), int8 and fp16 against fp32 (agreement as the card says).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from services.errors import TransferError
from services.manifest import Parity
from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from services.tasks.zeroshot import ZeroShot
from training.evaluate import Infer, run

MAX_ABS = 1e-4
NEAR_TIE = 2e-4
MIN_ROWS = 100


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
        spans = task.best_spans(item, outputs, top_k=2)
        return len(spans) > 1 and spans[0].margin - spans[1].margin < NEAR_TIE
    if isinstance(task, Classify):
        scores = task.scores(item, outputs)
        if task.settings.multi_label:
            return bool((np.abs(scores - task.thresholds()) < NEAR_TIE).any())
        first, second = np.sort(scores)[::-1][:2]
        return bool(first - second < NEAR_TIE)
    return False


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
            f"its card says at least {floor:.1%}.",
            "Report this with the output of `transfer doctor`; serve the fp32 variant meanwhile.",
        )
