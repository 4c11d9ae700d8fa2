"""Agreement of two variants."""

from __future__ import annotations

from typing import Any

import pytest

from services.compare import agreement


def qa(answer: str | None) -> dict[str, Any]:
    return {"answer": answer}


def summary(*starts: int) -> dict[str, Any]:
    return {"sentences": [{"start": start, "end": start + 5} for start in starts]}


def label(name: str, abstained: bool = False) -> dict[str, Any]:
    return {"label": name, "abstained": abstained}


@pytest.mark.parametrize(
    ("task", "one", "other", "expected"),
    [
        ("classify", label("a"), label("a"), 1),
        ("classify", label("a"), label("b"), 0),
        ("classify", label("a", abstained=True), label("b", abstained=True), 1),
        ("classify", label("a", abstained=True), label("a"), 0),
        ("classify", {"label": "a", "chosen": ["a", "b"]}, {"label": "b", "chosen": ["b"]}, 0.5),
        ("classify", {"label": "a", "chosen": []}, {"label": "b", "chosen": []}, 1),
        ("qa", qa("in Paris"), qa("in Paris"), 1),
        ("qa", qa(None), qa(None), 1),
        ("qa", qa(None), qa("Paris"), 0),
        ("qa", qa("in Paris"), qa("paris"), 2 / 3),
        ("qa", qa("in Paris"), qa("London"), 0),
        ("summarize", summary(0, 10), summary(10, 0), 1),
        ("summarize", summary(0, 10), summary(10, 20), 1 / 3),
        ("qa", {"error": {}}, qa("London"), 0),
        ("qa", {"error": {}}, {"error": {}}, 1),
    ],
)
def test_agreement(task: str, one: dict[str, Any], other: dict[str, Any], expected: float) -> None:
    assert agreement(task, [one], [other]) == pytest.approx(expected)


def test_agreement_is_the_mean_over_items_that_count() -> None:
    first = [label("a"), label("b"), {"error": {}}]
    other = [label("a"), label("c"), {"error": {}}]
    assert agreement("classify", first, other) == 0.5
