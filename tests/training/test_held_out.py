"""Rows that choose and rows that are reported are never the same ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.errors import UsageError
from tests.training.tiny_data import NAMES, squad, write_jsonl
from training.data import load_data
from training.held_out import (
    calibration_halves,
    decoding_rows,
    dev_rows,
    exam,
    held_out,
    held_out_for,
)
from training.recipe import Recipe, load_recipe

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def both_sorts(tmp_path: Path) -> str:
    """Ten articles with questions that have an answer and such that have none."""
    path = tmp_path / "v2.json"
    path.write_text(json.dumps(squad()), encoding="utf-8")
    return str(path)


def articles(rows: list[Any]) -> set[str]:
    return {row.article for row in rows}


def test_a_model_is_decoded_by_dev_and_reported_on_test(make_recipe: MakeRecipe) -> None:
    recipe = replace(make_recipe("intent"), data_attribution="made up")
    splits, held = load_data(recipe), held_out(recipe)
    assert held.decoding == dev_rows(splits, recipe)
    assert (held.test.rows, held.test.data) == (splits["test"], "made up")
    assert (held.test.out_of_scope, held.also) == ("other", {})


def test_calibration_data_is_cut_in_two_by_whole_articles(
    make_recipe: MakeRecipe, both_sorts: str
) -> None:
    recipe = make_recipe("reader", calibration_data=both_sorts)
    choosing, kept = calibration_halves(recipe)
    assert len(articles(choosing)) == len(articles(kept)) == 5
    assert articles(choosing) | articles(kept) == set(NAMES)
    assert calibration_halves(replace(recipe, seed=99, data_seed=98)) == (choosing, kept)
    held = held_out(recipe)
    assert held.decoding == decoding_rows(load_data(recipe), recipe) == choosing
    assert held.also["kept"].rows == kept
    assert held.also["kept"].data.startswith("v2.json, the half")
    assert held.test.rows == load_data(recipe)["test"]


def test_calibration_data_of_one_sort_is_refused(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    content = squad()
    for article in content["data"]:
        article["paragraphs"] = article["paragraphs"][1:]  # all answered
    (tmp_path / "v1.json").write_text(json.dumps(content), encoding="utf-8")
    recipe = make_recipe("reader", calibration_data=str(tmp_path / "v1.json"))
    with pytest.raises(UsageError, match=r"v1\.json has questions of one sort alone"):
        held_out(recipe)


@pytest.fixture
def news(tmp_path: Path) -> Path:
    rows = [
        {
            "sentences": ["A ship sank.", "It rained.", "Nobody was hurt."],
            "extractive_labels": [1, 0, 1],
            "summary": "A ship sank.Nobody was hurt.",
            "split": split,
            "duplicate": duplicate,
        }
        for split, duplicate in (("train", False), ("dev", False), ("test", False), ("test", True))
    ]
    return write_jsonl(tmp_path / "bbc.jsonl", rows)


def test_other_data_is_judged_on_its_own_test_split(make_recipe: MakeRecipe, news: Path) -> None:
    held = held_out(make_recipe("highlights"), {"news": news})
    found = held.also["news"]
    assert [row.key for row in found.rows] == [(0, 2)]  # its duplicate is left out
    assert (found.data, found.summary_sentences) == ("BBC News Summary", 0)
    assert sorted(found.baselines) == ["lead_k", "textrank"]
    assert 0 < found.baselines["lead_k"]["value"] < 1  # two sentences, of which one is right


def test_the_test_split_has_its_baselines_too(make_recipe: MakeRecipe) -> None:
    found = exam(make_recipe("highlights"))
    assert sorted(found.baselines) == ["lead_2", "textrank"]
    assert exam(make_recipe("intent")).baselines == {}


def test_other_data_of_another_kind_is_refused(make_recipe: MakeRecipe, news: Path) -> None:
    with pytest.raises(UsageError, match="news has rows for sentence-extraction; intent is for"):
        held_out(make_recipe("intent"), {"news": news})


def test_calibration_data_needs_a_reader() -> None:
    with pytest.raises(UsageError, match="calibration_data is for question-answering; kind"):
        load_recipe("intent", ["calibration_data=x.json"])


def test_one_seed_for_the_rows_leaves_the_other_to_the_training(make_recipe: MakeRecipe) -> None:
    def rows(**seeds: int) -> dict[str, list[Any]]:
        return load_data(make_recipe("reader", train_rows=5, test_rows=2, **seeds))

    assert rows(seed=1, data_seed=7) == rows(seed=2, data_seed=7) == rows(seed=7)
    assert rows(seed=7) != rows(seed=8)


def test_paths_of_several_data_sets_start_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "main").mkdir()
    data = {"data": "main", "extra_data": {"principal-sentences": "more"}}
    with pytest.raises(UsageError, match=rf"{tmp_path}/main holds no data file"):
        held_out_for("highlights", data, tmp_path)
    rows = [{"source": ["One.", "Two."], "source_labels": [1, 0], "target": ["One."]}] * 10
    for split in ("train", "dev", "test"):
        write_jsonl(tmp_path / "main" / f"{split}.jsonl", rows)
    (tmp_path / "more").mkdir()
    with pytest.raises(UsageError, match=rf"recipe highlights: {tmp_path}/more holds no data file"):
        held_out_for("highlights", data, tmp_path)
