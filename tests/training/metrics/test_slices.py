"""Groups by a column: who is served worse, and whether that is more than chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from services.errors import UsageError
from training.data import load_data
from training.evaluate import Evaluation
from training.metrics.report import Ran, measure
from training.metrics.slices import ABSENT, audit, group_of_rows
from training.recipe import Recipe


def accuracy(right: Sequence[bool]) -> Evaluation:
    values = np.array(right, float)
    return Evaluation("accuracy", len(values), lambda rows: float(values[rows].mean()), [])


def test_a_group_that_is_served_worse_shows_as_a_gap() -> None:
    right = [True] * 95 + [False] * 5 + [True] * 50 + [False] * 50
    found = audit(accuracy(right), ["north"] * 100 + ["south"] * 100)
    assert [(group["group"], group["n"], group["value"]) for group in found["groups"]] == [
        ("south", 100, 0.5),
        ("north", 100, 0.95),
    ]
    gap = found["gap"]
    assert (gap["best"], gap["worst"]) == ("north", "south")
    assert gap["value"] == pytest.approx(0.45)
    assert 0.3 < gap["ci_low"] < 0.45 < gap["ci_high"] < 0.6
    assert gap["by_chance"]["p"] < 0.01


def test_a_gap_between_equal_groups_is_called_chance() -> None:
    right = np.random.default_rng(0).random(400) < 0.8
    groups = [f"group {i % 8}" for i in range(400)]
    gap = audit(accuracy(right.tolist()), groups)["gap"]
    assert gap["value"] > 0
    assert gap["by_chance"]["mean"] > 0.05
    assert gap["by_chance"]["p"] > 0.05


def test_small_groups_are_named_and_left_out_of_the_gap() -> None:
    found = audit(accuracy([True] * 60 + [False] * 5), ["a"] * 30 + ["b"] * 30 + ["c"] * 5)
    small = {group["group"] for group in found["groups"] if group["too_small"]}
    assert small == {"c"}
    assert found["gap"]["value"] == 0.0
    assert "gap" not in audit(accuracy([True] * 40), ["a"] * 35 + ["b"] * 5)


def test_a_column_of_mostly_different_values_is_no_grouping() -> None:
    with pytest.raises(UsageError, match="201 values"):
        audit(accuracy([True] * 201), [str(i) for i in range(201)])


def test_the_groups_are_read_from_the_data(tmp_path: Path) -> None:
    rows = [
        {"text": f"text {i}", "label": "ab"[i % 2], "region": "n" if i < 20 else None}
        for i in range(40)
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = Recipe(name="x", kind="sequence-classification", data=str(path))
    test = load_data(recipe)["test"]
    groups = group_of_rows(recipe, test, "region")
    expected = ["n" if int(row.text.split()[1]) < 20 else ABSENT for row in test]
    assert groups == expected
    with pytest.raises(UsageError, match="no column 'age'"):
        group_of_rows(recipe, test, "age")


def test_equal_rows_keep_their_own_groups(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("text,label,by\nsame,a,one\nsame,a,two\nother,b,two\n", encoding="utf-8")
    recipe = Recipe(name="x", kind="sequence-classification", data=str(path))
    from training.held_out import all_rows

    rows = all_rows(recipe).rows
    assert group_of_rows(recipe, rows, "by") == ["one", "two", "two"]


def test_rows_out_of_scope_are_in_no_group(classified: Callable[..., Ran]) -> None:
    ran = classified(["a", "b", "none"], [[3, 0, 0], [0, 3, 0], [0, 0, 3]])
    record = measure(ran, "none", groups={"by": ["x", "x", "y"]}).record
    assert [group["group"] for group in record["slices"]["by"]["groups"]] == ["x"]
