"""Teacher in, student out, with the same student without its teacher beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

from services.errors import TransferError, UsageError
from services.manifest import sha256_of
from tests.training.tiny_data import tickets, write_jsonl
from training import distill as module
from training import teacher as teacher_module
from training.checkpoint import read_description, verdict
from training.distill import distill, distilled_dev_score
from training.finetune import finetune
from training.recipe import Recipe

MakeRecipe = Callable[..., Recipe]
Teachers = Callable[[str, str], Path]
JOBS = [
    ("intent", "bert"),
    ("tags", "distilbert"),
    ("reader", "bert"),
    ("reader", "distilbert"),
    ("highlights", "bert"),
]
LAYERS = {"student_layers": [0, 3], "max_steps": 4}


class Killed(BaseException):
    pass


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def students(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory
) -> Teachers:
    made: dict[tuple[str, str], Path] = {}

    def student(job: str, base: str) -> Path:
        if (job, base) not in made:
            out = tmp_path_factory.mktemp(f"{job}-{base}-student") / "distilled"
            recipe = make_recipe(job, base, hidden_weight=0.5, **LAYERS)
            made[job, base] = distill(recipe, teachers(job, base), out, progress=False)
        return made[job, base]

    return student


@pytest.mark.parametrize(("job", "base"), JOBS)
def test_a_student_knows_its_teacher_and_is_smaller(
    job: str, base: str, students: Teachers, teachers: Teachers
) -> None:
    student, teacher = read_description(students(job, base)), read_description(teachers(job, base))
    assert (student.role, student.layers) == ("distilled", [0, 3])
    assert student.parent == sha256_of(teachers(job, base) / "model.safetensors")
    assert (student.labels, student.base) == (teacher.labels, teacher.base)
    ours, theirs = metrics(students(job, base))["train"], metrics(teachers(job, base))["train"]
    assert ours["parameters"] < theirs["parameters"]


@pytest.mark.parametrize(("job", "base"), JOBS)
def test_teacher_student_and_control_stand_side_by_side(
    job: str, base: str, students: Teachers, teachers: Teachers
) -> None:
    found = metrics(students(job, base))
    record = found["distillation"]
    plain = record["without_teacher"]
    assert record["teacher"]["value"] == metrics(teachers(job, base))["test"]["value"]
    share = record["share_of_teacher"] * record["teacher"]["value"]
    assert share == pytest.approx(found["test"]["value"] if record["teacher"]["value"] else 0.0)
    assert plain["steps"] == found["train"]["steps"] == 4
    assert (plain["n"], plain["metric"]) == (found["test"]["n"], found["test"]["metric"])
    gain = record["gain_over_without_teacher"]
    assert gain["value"] == pytest.approx(found["test"]["value"] - plain["value"])
    assert gain["ci_low"] <= gain["value"] <= gain["ci_high"]
    assert record["verdict"] == verdict(gain)
    assert (record["hidden_weight"], record["student_layers"]) == (0.5, [0, 3])


@pytest.mark.parametrize(("job", "base"), JOBS)
def test_the_control_is_kept_and_is_another_model(job: str, base: str, students: Teachers) -> None:
    out = students(job, base)
    ours = load_file(out / "model.safetensors")
    theirs = load_file(out / "without-teacher" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
    assert not (out / "without-teacher" / "steps").exists() and not (out / "steps").exists()


def test_without_a_control_no_claim_is_made(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("intent", student_layers=[0], max_steps=1)
    out = distill(recipe, teachers("intent", "bert"), tmp_path / "out", False, control=False)
    record = metrics(out)["distillation"]
    assert record["teacher"]["n"] == metrics(out)["test"]["n"]
    assert "verdict" not in record and "without_teacher" not in record
    assert not (out / "without-teacher").exists()


def test_a_student_of_soft_targets_alone_comes_near_its_teacher(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """With all layers and alpha 1 there is nothing to learn: it stays what it was."""
    recipe = make_recipe(
        "highlights", student_layers=[0, 1, 2, 3], alpha=1.0, max_steps=2, learning_rate=1e-5
    )
    teacher = teachers("highlights", "bert")
    out = distill(recipe, teacher, tmp_path / "out", False, control=False)
    record = metrics(out)
    assert record["distillation"]["share_of_teacher"] == 1.0
    ours, theirs = (load_file(f / "model.safetensors") for f in (out, teacher))
    assert max((ours[name] - theirs[name]).abs().max() for name in ours) < 1e-4


def test_a_killed_distillation_runs_neither_teacher_nor_student_again(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("intent", student_layers=[0, 2], max_steps=3)
    teacher = teachers("intent", "bert")
    whole = distill(recipe, teacher, tmp_path / "whole", progress=False)
    plain = module.fit

    def die_for_the_control(*arguments: Any, **options: Any) -> Any:
        if str(arguments[3]).endswith("without-teacher"):
            raise Killed
        return plain(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, "fit", die_for_the_control)
        distill(recipe, teacher, tmp_path / "killed", progress=False)

    def no_teacher(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("the teacher ran again")

    steps: list[int] = []
    train_step = Trainer.training_step

    def counted(*arguments: Any, **options: Any) -> Any:
        steps.append(1)
        return train_step(*arguments, **options)

    monkeypatch.setattr(teacher_module, "TorchRunner", no_teacher)
    monkeypatch.setattr(Trainer, "training_step", counted)
    resumed = distill(recipe, teacher, tmp_path / "killed", progress=False)
    assert len(steps) == 3  # of the control
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    ours, theirs = (metrics(folder)["distillation"] for folder in (resumed, whole))
    for record in (ours, theirs):
        for timing in ("wall_time_s", "tokens_per_s", "energy"):
            record["without_teacher"].pop(timing)
    assert ours == theirs


def test_a_student_moves_whole_whatever_moved_in_its_teacher(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("intent", student_layers=[0], max_steps=1, strategy="lora")
    out = distill(recipe, teachers("intent", "bert"), tmp_path / "out", False, control=False)
    train = metrics(out)["train"]
    assert train["strategy"] == "full"
    assert "strategy: full" in (out / "recipe.yaml").read_text(encoding="utf-8")
    assert not (out / "adapter").exists()
    state = load_file(out / "model.safetensors")
    still = sum(tensor.numel() for name, tensor in state.items() if ".embeddings." in name)
    assert train["parameters_trained"] == train["parameters"] - still


def test_texts_without_labels_join_the_rows_and_the_control_takes_as_many_steps(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    texts = [{"text": f"where is the parcel number {i}", "label": "never read"} for i in range(20)]
    path = write_jsonl(tmp_path / "more.jsonl", texts)
    plain = make_recipe("intent", student_layers=[0], max_steps=0, epochs=1)
    recipe = replace(plain, unlabelled=str(path))
    found = {}
    for name, one in (("plain", plain), ("more", recipe)):
        found[name] = metrics(distill(one, teachers("intent", "bert"), tmp_path / name, False))
    steps = {name: one["train"]["steps"] for name, one in found.items()}
    assert steps["more"] == steps["plain"] + 2 or steps["more"] == steps["plain"] + 3
    assert found["more"]["train"]["rows"] == found["plain"]["train"]["rows"]
    assert found["more"]["distillation"]["without_teacher"]["steps"] == steps["more"]


def test_several_teachers_teach_their_mean(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    first = teachers("intent", "bert")
    second = finetune(make_recipe("intent", "bert", seed=8, max_steps=3), tmp_path / "b", False)
    recipe = make_recipe("intent", student_layers=[0, 2], max_steps=3, alpha=1.0)
    weights = {}
    for name, several in (("one", [first]), ("twice", [first, first]), ("two", [first, second])):
        out = distill(recipe, several, tmp_path / name, False, control=False)
        weights[name] = load_file(out / "model.safetensors")
        assert metrics(out)["distillation"]["teachers"] == len(several)
    same = max((weights["one"][n] - weights["twice"][n]).abs().max() for n in weights["one"])
    other = max((weights["one"][n] - weights["two"][n]).abs().max() for n in weights["one"])
    assert same < 2e-3 < other


def test_the_relation_loss_moves_a_student(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    weights = []
    changes = {"student_layers": [0, 3], "max_steps": 3, "evaluations": 1}
    for weight in (0.0, 5.0):
        recipe = make_recipe("reader", **changes, relation_weight=weight)
        out = distill(recipe, teachers("reader", "bert"), tmp_path / f"{weight}", False, False)
        weights.append(load_file(out / "model.safetensors"))
    name = "bert.encoder.layer.1.attention.self.key.weight"
    assert not torch.equal(weights[0][name], weights[1][name])


@pytest.mark.parametrize("pooling", ["", "mean"])
def test_the_dev_score_of_a_student_is_that_of_its_checkpoint(
    pooling: str, teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """It pools as its teacher, whatever the recipe says."""
    recipe = make_recipe("intent", student_layers=[0, 2], max_steps=4, pooling=pooling)
    teacher, trial = teachers("intent", "bert"), tmp_path / "trial"
    score = distilled_dev_score(recipe, teacher, trial, tmp_path / "teacher")
    out = distill(recipe, teacher, tmp_path / "out", False, control=False)
    assert score == metrics(out)["train"]["dev_best"]
    assert (tmp_path / "teacher").is_dir()
    assert not (trial / "metrics.json").exists()


# What is refused


@pytest.mark.parametrize(
    ("job", "changes", "message"),
    [
        ("reader", {"student_layers": [0]}, "is a sequence-classification checkpoint"),
        ("intent", {}, "has no student_layers"),
        ("intent", {"student_layers": [0], "start": "x"}, "a student starts from its teacher"),
        ("intent", {"student_layers": [0, 9]}, "expected different layers of 0 to 3"),
        ("tags", {"student_layers": [0]}, "multi_label is True; .* trained with False"),
    ],
)
def test_a_recipe_that_does_not_fit_the_teacher(
    job: str,
    changes: dict[str, Any],
    message: str,
    teachers: Teachers,
    make_recipe: MakeRecipe,
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=message):
        distill(make_recipe(job, **changes), teachers("intent", "bert"), tmp_path / "out", False)
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_labels_that_the_teacher_never_saw_are_named(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    rows = [{**row, "team": row["team"].replace("returns", "refunds")} for row in tickets()]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    recipe = make_recipe("intent", student_layers=[0], data=str(path))
    with pytest.raises(UsageError, match="labels that the teacher never saw: refunds"):
        distill(recipe, teachers("intent", "bert"), tmp_path / "out", False)
    assert not (tmp_path / "out").exists()


def test_a_teacher_that_is_no_checkpoint(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="is not a checkpoint"):
        distill(make_recipe("intent", student_layers=[0]), tmp_path, tmp_path / "out", False)


def test_a_finished_student_is_refused(
    students: Teachers, teachers: Teachers, make_recipe: MakeRecipe
) -> None:
    with pytest.raises(TransferError, match="already holds a finished checkpoint"):
        distill(
            make_recipe("intent", **LAYERS), teachers("intent", "bert"), students("intent", "bert")
        )


def test_several_teachers_have_a_mean_of_their_outputs_alone(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    both = [teachers("intent", "bert")] * 2
    recipe = make_recipe("intent", student_layers=[0], hidden_weight=1.0)
    with pytest.raises(UsageError, match="2 teachers and hidden_weight or relation_weight"):
        distill(recipe, both, tmp_path / "out", False)
    recipe = make_recipe("intent", student_layers=[0])
    with pytest.raises(UsageError, match="has other labels or another base than"):
        distill(recipe, [both[0], teachers("intent", "distilbert")], tmp_path / "out", False)
