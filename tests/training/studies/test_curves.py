"""Learning curves on tiny data: every way and size, once, from one seed to the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from export.tables import curves as shown
from services.errors import UsageError
from training.advice import against
from training.data import load_data
from training.recipe import Recipe, load_recipe
from training.rows import LabelledText
from training.studies import curves as module
from training.studies.curves import WAYS, chosen_sizes, chosen_ways, measure_curves, zero_shot

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def recipe(make_recipe: MakeRecipe) -> Recipe:
    return make_recipe("intent", pooling="mean", max_steps=2, data_attribution="tiny tickets")


def test_every_way_is_measured_at_every_size(recipe: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    record = measure_curves(recipe, tmp_path, sizes=[1, 0], seeds=1, tell=told.append)
    assert len(told) == 2 * len(WAYS)
    places = {(row["way"], row["examples"]) for row in record["rows"]}
    assert places == {(way, size) for way in WAYS for size in (1, 0)}
    for row in record["rows"]:
        assert 0.0 <= row["mean"] <= 1.0 and row["seeds"] == [7]
    few = next(row for row in record["rows"] if row["examples"] == 1)
    assert few["rows"] == 4 and few["rows_per_class"] == pytest.approx(4 / 3)
    assert record["seeds"] == {"1": 1, "0": 1} and record["why_fewer_seeds"]
    assert json.loads(json.dumps(record)) == record
    table, svg = shown.table(record), shown.plot(record)
    assert all(f"| {way} |" in table for way in WAYS)
    assert all(f"● {way}</text>" in svg for way in WAYS)

    path = tmp_path / "curves.json"
    path.write_text(json.dumps(record))
    rows = [LabelledText("a", ("x",)), LabelledText("b", ("y",))]
    assert isinstance(against(recipe, rows, path), str)


def test_each_seed_draws_other_examples_and_all_of_them_nested(recipe: Recipe) -> None:
    def texts(size: int, seed: int) -> set[str]:
        cell = module._cell(recipe, "full", size, seed, 3, 30)
        assert cell.recipe.evaluations == 1
        return {row.text for row in load_data(cell.recipe)["train"]}

    assert texts(1, 7) < texts(3, 7)
    assert texts(1, 7) != texts(1, 8)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_a_recipe_that_is_accepted(way: str) -> None:
    cell = module._cell(load_recipe("banking"), way, 10, 7, 77, 9000)
    keys = ["strategy", "learning_rate", "epochs", "batch_size", "pooling"]
    settings = [f"{key}={getattr(cell.recipe, key)}" for key in keys]
    assert load_recipe("banking", settings).strategy == WAYS[way].strategy


def test_zero_shot_is_what_the_service_answers(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("intent")
    rows = [row for row in load_data(recipe)["test"] if row.labels[0] != "other"]
    found = zero_shot(recipe, ["billing", "returns", "shipping"], rows)
    assert found["n"] == len(rows) and 0.0 <= found["value"] <= 1.0


def test_ways_and_sizes_can_be_chosen() -> None:
    assert chosen_ways("") == list(WAYS)
    assert chosen_ways("head,full") == ["head", "full"]
    assert chosen_sizes("1,10,all") == [1, 10, 0]
    assert chosen_sizes("") == [1, 10, 50, 0]
    with pytest.raises(UsageError, match="ways: magic unknown"):
        chosen_ways("head,magic")
    for wrong in ("many", "0", "-1"):
        with pytest.raises(UsageError, match="is no number of examples"):
            chosen_sizes(wrong)


def test_epochs_of_other_sizes_are_those_of_the_next_smaller() -> None:
    way = WAYS["full"]
    assert module._epochs(way, 16) == way.epochs[10]
    assert module._epochs(way, 0) == way.epochs[0]
