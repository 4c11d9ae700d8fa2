"""One command writes every card anew, from the adapters alone."""

from __future__ import annotations

import json

import pytest
import yaml

import export.release
from export.adapter import read_card
from export.cards import PLAN, rewrite_cards
from services.errors import UsageError
from tests.export.models import LABELS, write_adapters
from training.data import sample_rows
from training.recipe import load_recipe

TEXTS = ["a card", "my money", "the parcel", "an invoice"]


@pytest.fixture
def shop(bases, tmp_path, monkeypatch):
    """Adapters of one model, the data it is measured on, and the plan that names both."""
    monkeypatch.setattr(export.release, "MAX_LOSS", 1.0)  # noise is no training
    write_adapters(tmp_path / "adapters", bases["bert"], tmp_path, "sample-tickets")
    rows = [[f"{text} {i}", LABELS[i % 4]] for i in range(40) for text in TEXTS[i % 4 : i % 4 + 1]]
    splits = {"train": rows, "dev": rows[:12], "test": rows[:20]}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.json").write_text(json.dumps(splits))
    plan = tmp_path / "plan.yaml"
    plan.write_text("sample-tickets: {data: rows.json}")
    return tmp_path, plan


def test_every_adapter_gets_its_card(shop):
    folder, plan = shop
    told = []
    cards = rewrite_cards(
        folder / "adapters",
        folder / "data",
        folder / "work",
        sample_rows,
        ["sample-tickets"],
        plan,
        told.append,
    )
    assert told == list(cards) == ["sample-tickets/distilled", "sample-tickets/full"]
    for key, card in cards.items():
        assert read_card(folder / "adapters" / key) == card
        assert card["quality"]["int8"]["n"] == 20
        assert (folder / "adapters" / key / "README.md").read_text().startswith("# sample-tickets")


def test_a_model_that_the_plan_does_not_know_is_refused(shop):
    folder, plan = shop
    plan.write_text("other: {data: rows.json}")
    with pytest.raises(UsageError, match="does not say what to measure sample-tickets on"):
        rewrite_cards(folder / "adapters", folder / "data", folder, sample_rows, (), plan)


def test_the_plan_that_ships_names_the_models_that_ship():
    plan = yaml.safe_load(PLAN.read_text(encoding="utf-8"))
    assert sorted(plan) == ["emotion", "highlights", "intent", "reader"]
    for model, paths in plan.items():
        recipe = load_recipe(
            model, [f"{key}={json.dumps(path)}" for key, path in paths.items() if key != "also"]
        )
        assert recipe.extra_data.keys() == load_recipe(model).extra_data.keys()
        for name in paths.get("also", {}):
            assert load_recipe(name).kind == load_recipe(model).kind
