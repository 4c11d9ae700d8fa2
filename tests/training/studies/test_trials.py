"""Distillation trials: one factor at a time, nothing trained twice, dev alone chooses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.errors import UsageError
from tests.training.tiny_data import write_jsonl
from training import teacher as teacher_module
from training.finetune import finetune
from training.recipe import Recipe
from training.studies import trials as module
from training.studies.trials import FACTORS, Trial, grid, run_trials, spaced_layers

MakeRecipe = Callable[..., Recipe]
Teachers = Callable[[str, str], Path]
SMALL: dict[str, Any] = {"student_layers": [0, 3], "max_steps": 0, "epochs": 1, "evaluations": 1}


@pytest.fixture(scope="module")
def trial(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory
) -> Trial:
    texts = [{"text": f"is the machine {i} broken"} for i in range(16)]
    path = write_jsonl(tmp_path_factory.mktemp("texts") / "more.jsonl", texts)
    teacher = teachers("intent", "bert")
    recipe = make_recipe("intent", **SMALL, alpha=0.8)
    return Trial(recipe, (teacher, teacher), unlabelled=str(path))


@pytest.fixture(scope="module")
def done(trial: Trial, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, list[str]]:
    out, told = tmp_path_factory.mktemp("trials"), []
    record = run_trials(trial, out, lambda name, found: told.append(name), progress=False)
    return out, record, told


def test_the_grid_has_every_other_value_of_every_factor(trial: Trial) -> None:
    assert [(cell.factor, cell.value) for cell in grid(trial)] == [
        ("recipe", "as it is"),
        ("temperature", "1"),
        ("temperature", "4"),
        ("alpha", "0.5"),
        ("alpha", "1"),
        ("hidden_weight", "1"),
        ("epochs", "2"),
        ("depth", "1"),
        ("depth", "3"),
        ("unlabelled", "derived"),
        ("unlabelled", f"{Path(trial.unlabelled).parent.name}/more.jsonl"),
        ("relation", "1"),
        ("ensemble", "2 teachers"),
    ]


def test_every_student_stands_beside_its_control(
    trial: Trial, done: tuple[Path, Any, list[str]]
) -> None:
    _, record, told = done
    rows = record["rows"]
    cells = [f"{cell.factor} {cell.value}" for cell in grid(trial)]
    assert [f"{row['factor']} {row['value']}" for row in rows] == told == cells
    for row in rows:
        gain = row["test"]["mean"] - row["without_teacher"]["test"]["mean"]
        assert row["test_gain"]["value"] == pytest.approx(gain)
        against = row["dev"]["mean"] - rows[0]["dev"]["mean"]
        assert row["dev_against_recipe"]["value"] == pytest.approx(against)
        assert row["dev"]["ci_low"] <= row["dev"]["mean"] <= row["dev"]["ci_high"]
    by_name = {f"{row['factor']} {row['value']}": row for row in rows}
    assert by_name["epochs 2"]["steps"] == 2 * rows[0]["steps"]
    assert by_name["depth 1"]["layers"] == [0]
    assert by_name["unlabelled derived"]["steps"] > rows[0]["steps"]
    assert record["recipe"]["depth"] == "2" and record["recipe"]["unlabelled"] == "none"
    assert (record["metric"], record["seeds"]) == ("accuracy", [7])


def test_controls_and_the_teachers_outputs_are_shared(done: tuple[Path, Any, list[str]]) -> None:
    out = done[0]
    names = [path.parent.name for path in out.glob("7/*/cell.json")]
    # the recipe's, of twice the epochs, of two depths, of two sources of texts
    assert sum(name.startswith("control") for name in names) == 6
    # rows; rows with hidden states; rows with relations; two sources of texts
    assert len(list((out / "teacher").iterdir())) == 5
    assert not list(out.glob("7/*/steps"))


def test_what_is_finished_is_read_and_not_trained_again(
    trial: Trial, done: tuple[Path, Any, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("trained twice")

    for name in ("teach", "untaught", "prepare"):
        monkeypatch.setattr(module, name, never)
    out, record, _ = done
    assert run_trials(trial, out, lambda *told: never(), progress=False) == record
    some = Trial(trial.recipe, trial.teachers, 1, ("alpha",), trial.unlabelled)
    assert run_trials(some, out, progress=False) == record


def test_a_cell_that_was_lost_alone_is_trained_and_the_teacher_does_not_run(
    trial: Trial, done: tuple[Path, Any, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, record, _ = done
    (path,) = out.glob("7/alpha-1-*/cell.json")
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()

    def no_teacher(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("the teacher ran again")

    monkeypatch.setattr(teacher_module, "TorchRunner", no_teacher)
    told: list[str] = []
    again = run_trials(trial, out, lambda name, found: told.append(name), progress=False)
    assert told == ["alpha 1"]
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["dev"], found["test"]) == (kept["dev"], kept["test"])
    assert [row["dev"] for row in again["rows"]] == [row["dev"] for row in record["rows"]]


def test_only_the_factors_that_are_asked_for_and_every_seed(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("tags", student_layers=[0], max_steps=1, evaluations=1)
    trial = Trial(recipe, (teachers("tags", "bert"),), seeds=2, factors=("temperature",))
    record = run_trials(trial, tmp_path, progress=False)
    assert [row["value"] for row in record["rows"]] == ["as it is", "1", "4"]
    assert record["seeds"] == [7, 8]
    assert all(len(row["dev"]["values"]) == 2 for row in record["rows"])
    # macro-F1 is no mean over rows: differences have no interval
    assert record["metric"] == "macro_f1"
    assert record["rows"][1]["dev_against_recipe"]["ci_low"] is None


def test_students_and_controls_pool_as_the_teacher_does(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = finetune(make_recipe("intent", pooling="mean", max_steps=1), tmp_path / "t", False)
    seen: list[tuple[str, str]] = []

    def watch(name: str, plain: Callable[..., Any]) -> None:
        def watched(*arguments: Any) -> Any:
            made = plain(*arguments)
            seen.append((name, getattr(made[0].config, "pooling", "")))
            return made

        monkeypatch.setattr(module, name, watched)

    watch("teach", module.teach)
    watch("untaught", module.untaught)
    recipe = make_recipe("intent", student_layers=[0], max_steps=1, evaluations=1)
    trial = Trial(recipe, (teacher,), factors=("alpha",))
    run_trials(trial, tmp_path / "trials", progress=False)
    assert set(seen) == {("teach", "mean"), ("untaught", "mean")}


def test_layers_are_spread_evenly() -> None:
    assert [spaced_layers(depth, 6) for depth in (1, 2, 3, 4)] == [
        [0],
        [0, 5],
        [0, 2, 5],
        [0, 2, 3, 5],
    ]


def test_wrong_trials_are_refused(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("intent", student_layers=[0])
    with pytest.raises(UsageError, match="factors names dropout; expected some of temperature"):
        Trial(recipe, (), factors=("dropout",))
    with pytest.raises(UsageError, match="is for seq2seq"):
        Trial(make_recipe("dialogue", "bart"), ())
    with pytest.raises(UsageError, match="seeds is 0"):
        Trial(recipe, (), seeds=0)
    assert "ensemble" in FACTORS
