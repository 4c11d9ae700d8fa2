"""What the efficiency and throughput studies measure, with trainings of two steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from services.errors import TransferError
from training.recipe import Recipe
from training.studies import efficiency, measured_run, throughput
from training.studies.measured_run import Run, measure, run_apart

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def recipe(make_recipe: MakeRecipe) -> Recipe:
    return make_recipe("intent", max_steps=2, evaluations=1)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Runs take place in this process, each once; returns those that took place."""
    ran: list[Run] = []

    def run(run: Run, folder: Path, given: Path | None = None) -> dict[str, Any]:
        path = folder / "record.json"
        if not path.is_file():
            ran.append(run)
            folder.mkdir(parents=True, exist_ok=True)
            if given is not None:
                shutil.copytree(given, folder / "checkpoint" / given.name)
            path.write_text(json.dumps(measure(run, folder)), encoding="utf-8")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    monkeypatch.setattr(efficiency, "run_apart", run)
    return ran


@pytest.mark.parametrize("options", [{"pad": True}, {"pad": False}, {"frozen": True}], ids=str)
def test_a_plain_trainer_is_measured_on_the_same_rows(
    options: dict[str, bool], recipe: Recipe, tmp_path: Path
) -> None:
    plain = measure(Run("plain", asdict(recipe), options), tmp_path / "plain")
    ours = measure(Run("transfer", asdict(recipe)), tmp_path / "ours")
    assert plain["steps"] == ours["steps"] == 2
    assert plain["n"] == ours["n"] == len(plain["right"])
    assert set(plain) == set(ours)
    assert 0 < plain["before_mb"] <= plain["peak_mb"]


@pytest.mark.slow
def test_a_run_has_a_process_of_its_own_and_is_kept(recipe: Recipe, tmp_path: Path) -> None:
    run = Run("plain", asdict(recipe))
    found = run_apart(run, tmp_path)
    assert found["steps"] == 2
    kept = (tmp_path / "record.json").stat().st_mtime_ns
    assert run_apart(run, tmp_path) == found
    assert (tmp_path / "record.json").stat().st_mtime_ns == kept
    with pytest.raises(TransferError, match=r"A measured training failed: .*nowhere"):
        run_apart(Run("plain", asdict(replace(recipe, data="nowhere"))), tmp_path)
    assert not (tmp_path / "record.json").exists()


@pytest.mark.slow
def test_a_run_that_was_stopped_before_its_record_begins_anew(
    recipe: Recipe, tmp_path: Path
) -> None:
    run = Run("transfer", asdict(recipe))
    first = run_apart(run, tmp_path)
    (tmp_path / "record.json").unlink()  # its checkpoint is finished
    again = run_apart(run, tmp_path)
    assert again["right"] == first["right"]
    assert again["train_s"] > 0 and again["tokens_per_s"] > 0


def test_every_way_of_training_cheaper_is_one_change_of_plain(recipe: Recipe) -> None:
    ways = efficiency.ways(replace(recipe, batch_size=8, bf16=True))
    plain = asdict(ways["plain"])
    assert not plain["bf16"] and not plain["group_by_length"] and not plain["freeze_embeddings"]
    changed = {
        name: {key for key, value in asdict(one).items() if value != plain[key]}
        for name, one in ways.items()
    }
    assert changed["bf16"] == {"bf16"}
    assert changed["checkpointing"] == {"gradient_checkpointing"}
    assert changed["accumulation"] == {"batch_size", "accumulate"}
    one = ways["accumulation"]
    assert one.batch_size * one.accumulate == 8


def test_what_is_saved_stands_beside_what_it_costs(
    recipe: Recipe, here: list[Run], tmp_path: Path
) -> None:
    student = replace(recipe, student_layers=[0, 2])
    told: list[str] = []
    found = efficiency.measure_efficiency(recipe, student, [7], tmp_path, told.append)
    rows = {row["way"]: row for row in found["rows"]}
    assert set(rows) == {
        *efficiency.ways(recipe),
        *("distillation", "distillation, teacher cached"),
    }
    assert rows["plain"]["against_plain"] == {"value": 0.0, "ci_low": 0.0, "ci_high": 0.0}
    assert rows["distillation"]["values"] == rows["distillation, teacher cached"]["values"]
    assert len(told) == len(rows)
    assert not list(tmp_path.glob("plain-7/checkpoint"))
    count = len(here)
    assert efficiency.measure_efficiency(recipe, student, [7], tmp_path) == found
    assert len(here) == count  # finished runs are read


def test_throughput_sets_both_jobs_beside_a_plain_trainer(
    recipe: Recipe, here: list[Run], tmp_path: Path
) -> None:
    found = throughput.measure_throughput(recipe, [7], tmp_path)
    assert [(row["job"], row["way"]) for row in found["rows"]] == [
        (job, way) for job in throughput.JOBS for way in throughput.WAYS
    ]
    ours = [row for row in found["rows"] if row["way"] == "transfer"]
    assert all(row["ours_is_faster"] == 1.0 for row in ours)
    frozen = [run.options.get("frozen") for run in here]
    assert frozen == [None, False, False, None, True, True]


def test_the_peak_of_memory_only_grows() -> None:
    assert measured_run.peak_mb() <= measured_run.peak_mb()
