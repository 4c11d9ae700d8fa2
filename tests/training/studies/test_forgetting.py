"""Every way of adding classes starts from the same model and is measured once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.errors import UsageError
from training.checkpoint import read_description
from training.recipe import Recipe
from training.studies import forgetting as module
from training.studies.forgetting import WAYS, Way, drawn, run_ways

MakeRecipe = Callable[..., Recipe]
TINY = [
    Way("new rows alone", "replay", 0, ("max_steps=2",)),
    Way("distill, replay 3", "distill", 3, ("max_steps=2",)),
]


def test_ways_are_measured_side_by_side_and_once(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("intent", max_steps=6, evaluations=1)
    told: list[str] = []
    record = run_ways(recipe, 1, 2, tmp_path, TINY, lambda name, found: told.append(name), False)
    assert told == ["new rows alone", "distill, replay 3"]
    assert (record["old_classes"], record["new_classes"], record["seeds"]) == (2, 1, [7, 8])
    alone, taught = record["rows"]
    assert (alone["replayed_rows"], taught["replayed_rows"]) == (0, 3 * 3)  # two, and "other"
    assert alone["old_before"] == taught["old_before"]
    for row in record["rows"]:
        loss = row["old_before"]["mean"] - row["old_after"]["mean"]
        assert row["old_loss"]["value"] == pytest.approx(loss)
        assert len(row["new"]["values"]) == 2
    for seed in (7, 8):
        later = drawn(["billing", "returns", "shipping"], 1, seed)
        (before,) = tmp_path.glob(f"*/{seed}/before")
        known = read_description(before).labels
        assert sorted([*known, *later]) == ["billing", "returns", "shipping"]
    assert not list(tmp_path.glob("*/*/*/checkpoint"))

    def never(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("trained twice")

    monkeypatch.setattr(module, "add_class", never)
    monkeypatch.setattr(module, "finetune", never)
    assert run_ways(recipe, 1, 2, tmp_path, TINY, progress=False) == record
    with pytest.raises(AssertionError, match="trained twice"):  # of another recipe nothing is read
        run_ways(replace(recipe, learning_rate=1e-5), 1, 2, tmp_path, TINY, progress=False)


def test_so_many_classes_cannot_come_later(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="new is 2; expected 1 to 1 of 3 classes"):
        run_ways(make_recipe("intent"), 2, 1, tmp_path)


def test_the_first_way_is_the_control_and_the_last_reads_all() -> None:
    assert (WAYS[0].replay, WAYS[-1].replay) == (0, -1)
    assert len({way.name for way in WAYS}) == len(WAYS)
