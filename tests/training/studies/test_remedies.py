"""Remedies for imbalance, side by side on the same rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from export.tables import remedies as shown
from training.data import load_data
from training.recipe import Recipe
from training.studies.remedies import REMEDIES, measure_remedies, rare_labels, recalls


def test_every_remedy_is_measured(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = make_recipe("intent", strategy="head", pooling="mean", max_steps=3)
    record = measure_remedies(recipe, tmp_path, seeds=2)
    assert [row["way"] for row in record["rows"]] == list(REMEDIES)
    assert record["seeds"] == [7, 8] and record["rare"] == 1
    for row in record["rows"]:
        assert len(row["values"]) == 2
        assert 0.0 <= row["recall_of_rare"] <= 1.0
    assert json.loads(json.dumps(record)) == record
    assert all(f"| {way} |" in shown.table(record) for way in REMEDIES)
    assert all(f">{way}</text>" in shown.plot(record) for way in REMEDIES)


def test_the_rare_third_has_the_fewest_rows() -> None:
    counts = Counter({"a": 100, "b": 25, "c": 50, "d": 25, "e": 100, "f": 75})
    assert rare_labels(counts) == {"b", "d"}
    assert rare_labels(Counter({"a": 1, "b": 2})) == {"a"}


def test_recall_is_that_of_the_labels_asked_for(
    teachers: Callable[[str, str], Path], make_recipe: Callable[..., Recipe]
) -> None:
    rows = [row for row in load_data(make_recipe("intent"))["test"] if row.labels[0] != "other"]
    found = recalls(teachers("intent", "bert"), rows, {"billing"})
    shares = recalls(teachers("intent", "bert"), rows, {"returns", "shipping"})
    assert found["recall_of_rare"] == pytest.approx(shares["recall_of_others"])
