"""A grown generator beside its control and its half: trained once, scored on the same rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from export.tables import growing as table_module
from services.errors import UsageError
from tests.training.tiny_data import summaries, write_jsonl
from training.recipe import load_recipe
from training.studies import growing as growing_module
from training.studies.growing import measure_growing, recipes_of


@pytest.fixture
def recipe(tmp_path: Path, tiny_bert: Path) -> Path:
    """mine.yaml, mine-scratch.yaml and mine-distilled.yaml beside each other."""
    keys = {
        "name": "mine",
        "kind": "seq2seq",
        "base": str(tiny_bert),
        "data": str(write_jsonl(tmp_path / "mine.jsonl", summaries())),
        "decoder_layers": [0, 3],
        "freeze_embeddings": False,
        "max_tokens": 64,
        "max_target_tokens": 8,
        "max_steps": 2,
        "evaluations": 1,
        "batch_size": 4,
    }
    more: dict[str, dict[str, Any]] = {
        "mine": keys,
        "mine-scratch": {"extends": "mine.yaml", "strategy": "scratch"},
        "mine-distilled": {"extends": "mine.yaml", "student_layers": [0]},
    }
    for name, content in more.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return tmp_path / "mine.yaml"


def test_all_ways_are_scored_on_the_same_rows_and_trained_once(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    out = tmp_path / "out"
    record = measure_growing(str(recipe), [], out, told.append)
    ways = ["lead-3", "TextRank", "grown", "scratch", "half", "half without teacher"]
    assert [row["way"] for row in record["rows"]] == ways
    assert len({row["n"] for row in record["rows"]}) == 1
    by_way = {row["way"]: row for row in record["rows"]}
    assert by_way["half"]["parameters"] < by_way["grown"]["parameters"]
    assert by_way["scratch"]["parameters"] == by_way["grown"]["parameters"]
    assert all(by_way[way]["perplexity"] > 1 for way in ("grown", "scratch", "half"))
    gain = record["gains"][0]
    assert (gain["way"], gain["over"]) == ("grown", "scratch")
    assert gain["value"] == pytest.approx(by_way["grown"]["value"] - by_way["scratch"]["value"])
    assert gain["ci_low"] <= gain["value"] <= gain["ci_high"]
    assert record["seeds"] == [load_recipe(recipe).seed]
    assert record["why_fewer_seeds"]
    assert {"grown", "scratch", "half"} == set(record["examples"][0]["written"])

    scratch = (out / "scratch" / "recipe.yaml").read_bytes()

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr(growing_module, "finetune", never)
    monkeypatch.setattr(growing_module, "distill", never)
    assert measure_growing(str(recipe), [], out, told.append) == record
    with pytest.raises(UsageError, match="holds a training of another recipe"):
        measure_growing(str(recipe), ["batch_size=8"], out, told.append)
    (out / "grown").rename(out / "aside")
    (out / "scratch").rename(out / "grown")
    (out / "aside").rename(out / "scratch")
    shutil.copy(out / "scratch" / "recipe.yaml", out / "grown" / "recipe.yaml")
    (out / "scratch" / "recipe.yaml").write_bytes(scratch)
    with pytest.raises(UsageError, match="learned from another model"):
        measure_growing(str(recipe), [], out, told.append)

    lines = table_module.table(record).splitlines()
    assert sum(line.startswith(("| grown ", "| scratch ", "| half ")) for line in lines) == 4
    assert any("grown over scratch" in line for line in lines)
    assert any(line.startswith("- grown: ") for line in lines)
    assert "half without teacher" in table_module.plot(record)


def test_what_grows_nothing_or_stands_alone_is_refused(recipe: Path) -> None:
    with pytest.raises(UsageError, match="grows no generator"):
        recipes_of("intent", [])
    with pytest.raises(UsageError, match=r"strategy full and .*-scratch has full"):
        recipes_of(str(recipe), ["strategy=full"])
    (recipe.parent / "mine-distilled.yaml").unlink()
    with pytest.raises(UsageError, match="no recipe"):
        recipes_of(str(recipe), [])


def test_the_shipped_recipes_are_found_together() -> None:
    found = recipes_of("dialogsum", ["data=mine.jsonl"])
    assert list(found) == ["grown", "scratch", "half"]
    assert {recipe.data for recipe in found.values()} == {"mine.jsonl"}
