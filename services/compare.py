"""How far two variants agree about the same input: their results in, 0..1 out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.tasks.base import Result


def agreement(task: str, first: Sequence[Result], other: Sequence[Result]) -> float:
    """Mean over the items; an item that neither could answer does not count."""
    pairs = [
        (a, b) for a, b in zip(first, other, strict=True) if not ("error" in a and "error" in b)
    ]
    scores = [0.0 if "error" in a or "error" in b else _MEASURES[task](a, b) for a, b in pairs]
    return sum(scores) / len(scores) if scores else 1.0


def classify_agreement(one: Result, other: Result) -> float:
    """The same label, to abstain being one too; for several, the Jaccard index of the chosen."""
    if "chosen" in one:
        return jaccard(one["chosen"], other["chosen"])
    if one["abstained"] or other["abstained"]:
        return float(one["abstained"] == other["abstained"])
    return float(one["label"] == other["label"])


def qa_agreement(one: Result, other: Result) -> float:
    """1 for the same answer (or none from both), else F1 over its words."""
    if one["answer"] is None or other["answer"] is None:
        return float(one["answer"] == other["answer"])
    if one["answer"] == other["answer"]:
        return 1.0
    return token_f1(one["answer"], other["answer"])


def summarize_agreement(one: Result, other: Result) -> float:
    """The Jaccard index of the chosen sentences; F1 over the words of generated summaries."""
    if not one["sentences"] and not other["sentences"]:
        return (
            1.0
            if one["summary"] == other["summary"]
            else token_f1(one["summary"], other["summary"])
        )
    return jaccard(
        [(sentence["start"], sentence["end"]) for sentence in one["sentences"]],
        [(sentence["start"], sentence["end"]) for sentence in other["sentences"]],
    )


def jaccard(one: Iterable[object], other: Iterable[object]) -> float:
    """Shared over all; 1 for two empty sets."""
    first, second = set(one), set(other)
    return len(first & second) / len(first | second) if first | second else 1.0


def token_f1(one: str, other: str) -> float:
    """F1 over lower-cased words, repeated ones counted (Rajpurkar et al. 2016)."""
    first, second = Counter(one.lower().split()), Counter(other.lower().split())
    shared = (first & second).total()
    return 2 * shared / max(first.total() + second.total(), 1)


_MEASURES: dict[str, Callable[[Result, Result], float]] = {
    "classify": classify_agreement,
    "qa": qa_agreement,
    "summarize": summarize_agreement,
}


def said(result: Result) -> str:
    """What people see of a result."""
    if "error" in result:
        return str(result["error"]["message"])
    if "chosen" in result:
        return ", ".join(result["chosen"]) or "(none)"
    if "label" in result:
        return "(abstains)" if result["abstained"] else str(result["label"])
    if "answer" in result:
        return "(no answer)" if result["answer"] is None else str(result["answer"])
    return str(result["summary"])
