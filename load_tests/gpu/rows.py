"""Labelled rows of the user's own, and how right answers to them are.

In: JSON lines with `text` and `label` (or `labels`) for a classifier, SQuAD's JSON for a reader.
Out: request bodies with what is expected; a mean of 0..1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from services.compare import jaccard, token_f1
from services.errors import UsageError

Row = dict[str, Any]


def read_rows(path: Path, task: str) -> list[Row]:
    """`{"body", "expected"}` of every row; raises UsageError for what cannot be read."""
    readers = {"classify": _labelled, "qa": _questions}
    if task not in readers:
        raise UsageError(
            f"--data {path} is for a model that does {task}; expected {' or '.join(readers)}.",
            "Score summaries with `transfer compare MODEL --data FILE`.",
        )
    try:
        rows = list(readers[task](path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} has no rows for {task} ({type(error).__name__}: {error}).",
            "Give JSON lines with text and label, or SQuAD's JSON.",
        ) from error
    if not rows:
        raise UsageError(f"{path} has no rows.", "Give JSON lines with text and label.")
    return rows


def _labelled(text: str) -> Iterator[Row]:
    for line in text.splitlines():
        if line.strip():
            row = json.loads(line)
            labels = row["labels"] if "labels" in row else [row["label"]]
            yield {"body": {"text": row["text"]}, "expected": list(labels)}


def _questions(text: str) -> Iterator[Row]:
    for article in json.loads(text)["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                body = {"question": qa["question"], "context": paragraph["context"]}
                yield {"body": body, "expected": [answer["text"] for answer in qa["answers"]]}


METRICS = {"classify": "label agreement", "qa": "word F1"}


def score(task: str, results: Sequence[Row], rows: Sequence[Row]) -> float:
    """Mean: the right label (of several, the Jaccard index), or F1 over the answer's words."""
    pairs = zip(results, (row["expected"] for row in rows), strict=True)
    of_one = _of_label if task == "classify" else _of_answer
    found = [of_one(result, expected) for result, expected in pairs]
    return sum(found) / len(found)


def _of_label(result: Row, expected: Sequence[str]) -> float:
    return jaccard(result.get("chosen", [result["label"]]), expected)


def _of_answer(result: Row, expected: Sequence[str]) -> float:
    if result["answer"] is None or not expected:
        return float(result["answer"] is None and not expected)
    return max(token_f1(result["answer"], one) for one in expected)
