"""The same recipe with several seeds: other weights, the same rows, nothing done twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.errors import UsageError
from tests.training.tiny_data import recipe_of
from training.recipe import load_recipe
from training.studies import seeds as seeds_module
from training.studies.seeds import run_seeds, student_recipe


@pytest.fixture
def recipes(tmp_path: Path, data_folder: Path, bases: dict[str, Path]) -> Path:
    """tags.yaml and tags-distilled.yaml beside each other."""
    recipe_of("tags", data_folder, bases["bert"], max_steps=3).save(tmp_path / "tags.yaml")
    student = {"extends": "tags.yaml", "student_layers": [0, 3]}
    (tmp_path / "tags-distilled.yaml").write_text(yaml.safe_dump(student), encoding="utf-8")
    return tmp_path / "tags.yaml"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_teacher_student_and_control_are_trained_with_each_seed(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, results = tmp_path / "out", tmp_path / "docs" / "seeds.json"
    entry = run_seeds(str(recipes), ["seed=3"], 2, out, results, progress=False)
    assert entry["seeds"] == [3, 4]
    assert list(entry["parts"]) == ["full", "distilled", "control"]
    tested = [read(out / str(seed) / "full" / "metrics.json")["test"] for seed in (3, 4)]
    assert entry["parts"]["full"]["values"] == [found["value"] for found in tested]
    assert tested[0]["n"] == tested[1]["n"]
    for seed in (3, 4):
        for part in ("full", "distilled"):
            recipe = load_recipe(out / str(seed) / part / "recipe.yaml")
            assert (recipe.seed, recipe.data_seed) == (seed, 3)
    weights = [(out / str(s) / "full" / "model.safetensors").read_bytes() for s in (3, 4)]
    assert weights[0] != weights[1]
    assert read(results) == {"tags": entry}

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr(seeds_module, "finetune", never)
    monkeypatch.setattr(seeds_module, "distill", never)
    results.write_text(json.dumps({"other": {}}), encoding="utf-8")
    assert run_seeds(str(recipes), ["seed=3"], 2, out, results, progress=False) == entry
    with pytest.raises(UsageError, match="holds a training of another recipe"):
        run_seeds(str(recipes), ["seed=3", "epochs=9"], 2, out, results, progress=False)
    assert read(results) == {"other": {}, "tags": entry}


def test_a_recipe_without_a_student_has_one_part(recipes: Path, tmp_path: Path) -> None:
    (recipes.parent / "tags-distilled.yaml").unlink()
    entry = run_seeds(str(recipes), [], 1, tmp_path / "out", tmp_path / "s.json", progress=False)
    assert list(entry["parts"]) == ["full"]


def test_a_student_starts_from_its_teacher_wherever_that_started() -> None:
    found = student_recipe("emotion", ["start=checkpoints/intent", "epochs=3"])
    assert found is not None
    assert (found.start, found.epochs) == ("", 3.0)
    assert student_recipe("news", []) is None
