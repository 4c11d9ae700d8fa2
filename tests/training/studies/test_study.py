"""Trainings in a row: none twice, none of other settings taken for one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training.recipe import Recipe
from training.rows import LabelledText
from training.strategies import cached
from training.studies import study
from training.studies.finished import rows_digest
from training.studies.study import Cell, by_place, run_cells, summary

ROWS = "digest of the rows"


@pytest.fixture
def cells(make_recipe: Callable[..., Recipe]) -> list[Cell]:
    recipe = make_recipe("intent", max_steps=2, evaluations=1, pooling="mean")
    return [
        Cell(
            {"way": way, "seed": seed},
            replace(recipe, strategy=way, seed=seed, data_seed=7),
            options={"strategy": way},
        )
        for way in ("head", "prototypes")
        for seed in (7, 8)
    ]


def test_finished_cells_are_not_run_again(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    looked: list[Path] = []

    def look(checkpoint: Path) -> dict[str, Any]:
        looked.append(checkpoint)
        assert (checkpoint / "model.safetensors").is_file()
        return {"more": 1.0}

    records = run_cells(cells[:2], tmp_path, ROWS, told.append, look)
    assert [record["seed"] for record in records] == [7, 8]
    assert told[0].startswith("1/2 head-7: accuracy 0.") and "min left" in told[0]
    assert not any(path.exists() for path in looked)
    ran: list[Recipe] = []
    plain = study.finetune

    def counting(recipe: Recipe, *arguments: Any, **options: Any) -> Path:
        ran.append(recipe)
        return plain(recipe, *arguments, **options)

    monkeypatch.setattr(study, "finetune", counting)
    assert run_cells(cells, tmp_path, ROWS, look=look)[:2] == records
    assert [recipe.strategy for recipe in ran] == ["prototypes", "prototypes"]
    changed = replace(cells[0], recipe=replace(cells[0].recipe, learning_rate=0.5))
    run_cells([changed], tmp_path, ROWS, look=look)
    assert ran[-1].learning_rate == 0.5
    kept = json.loads((tmp_path / "cells" / "head-7.json").read_text())
    assert kept["made_of"] == {"recipe": changed.recipe.digest, "rows": ROWS}
    assert kept["more"] == 1.0
    run_cells([changed], tmp_path, "other rows", look=look)
    assert len(ran) == 4


def test_a_cell_that_was_stopped_begins_anew_and_shares_nothing(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its seconds are all of them: not those after a kill, nor without reading its texts."""
    head, taught = cells[0], cells[2]
    left = tmp_path / "running" / head.name
    left.mkdir(parents=True)
    (left / "metrics.json").write_text("{}")
    read: list[Any] = []
    plain = cached._kept

    def counting(hidden: Any, kept: str) -> Any:
        read.append(hidden)
        return plain(hidden, kept)

    monkeypatch.setattr(cached, "_kept", counting)
    run_cells([head], tmp_path, ROWS)
    texts = len(read)
    run_cells([taught], tmp_path, ROWS)
    assert len(read) > texts > 0
    assert not list((tmp_path / "running").iterdir())


def test_a_summary_is_over_the_seeds_of_a_place() -> None:
    records: list[dict[str, Any]] = [
        {
            "way": way,
            "seed": seed,
            "strategy": "full",
            "options": {},
            "value": value,
            "macro_f1": value,
            "rows": 10,
            "seconds": 2.0,
            "cpu_seconds": 3.0,
            "steps": 4,
            "rare": value / 2,
            "parameters_trained": 5,
        }
        for way, seed, value in (("a", 7, 0.5), ("b", 7, 0.9), ("a", 8, 0.7))
    ]
    groups = by_place(records, ("way",))
    assert list(groups) == [("a",), ("b",)]
    found = summary(groups["a",], ("rare",))
    assert found["seeds"] == [7, 8]
    assert found["mean"] == pytest.approx(0.6)
    assert found["std"] == pytest.approx(0.1414, abs=1e-4)
    assert found["rare"] == pytest.approx(0.3)
    assert (found["seconds"], found["cpu_seconds"]) == (2.0, 3.0)


def test_other_rows_have_another_digest() -> None:
    rows = {"train": [LabelledText("a", ("x",))], "test": [LabelledText("b", ("y",))]}
    swapped = {"train": rows["test"], "test": rows["train"]}
    assert rows_digest(rows) == rows_digest(dict(reversed(rows.items())))
    assert len({rows_digest(rows), rows_digest(swapped), rows_digest({"train": []})}) == 3
