"""A checkpoint says what it is, and is finished only when its metrics are there."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.errors import TransferError
from services.tasks.classify import Classify
from services.windows import TextTokenizer
from tests.unpickling import forbid_unpickling
from training.bases import resolve
from training.checkpoint import (
    Description,
    base_of,
    comparison,
    decoding_of,
    describe,
    read_description,
    refuse_finished,
    save_checkpoint,
    task_of,
    write_description,
    write_json,
)
from training.evaluate import Evaluation
from training.models import load_model
from training.recipe import Recipe, load_recipe
from training.record import Fit

FIT = Fit(seconds=2.0, steps=4, tokens=100, best_dev=0.5, history=[{"step": 4, "score": 0.5}])


def accuracy(value: float) -> Evaluation:
    return Evaluation("accuracy", 10, lambda indices: value, [])


@pytest.fixture
def unpickled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where something was unpickled, which raises, as does any use of `torch.load`."""
    tried = forbid_unpickling(monkeypatch.setattr)
    monkeypatch.setattr(torch, "load", pickle.loads)  # that raises by now
    return tried


@pytest.fixture
def described(make_recipe: Callable[..., Recipe]) -> Description:
    recipe = make_recipe("intent")
    return describe(recipe, resolve(recipe.base), ["a", "b"])


def test_a_description_is_read_as_it_was_written(described: Description, tmp_path: Path) -> None:
    write_description(tmp_path, described)
    assert read_description(tmp_path) == described


def test_a_description_knows_its_base_and_recipe(
    described: Description, make_recipe: Callable[..., Recipe], tiny_bert: Path
) -> None:
    assert described.recipe_digest == make_recipe("intent").digest
    assert (described.role, described.task, described.out_of_scope) == ("full", "classify", "other")
    base = base_of(described)
    assert (base.id, base.revision) == (str(tiny_bert), "local")
    assert base.sha256 == resolve(str(tiny_bert)).sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ('{"kind": "seq2seq", "colour": "red"}', "does not fit: .'colour'."),
        ('{"kind": "poetry"}', "does not fit: 'poetry'"),
    ],
)
def test_a_folder_that_is_no_checkpoint(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "checkpoint.json").write_text(content, encoding="utf-8")
    with pytest.raises(TransferError, match=message) as caught:
        read_description(tmp_path)
    assert caught.value.code == "bad_checkpoint"


def test_a_task_keeps_its_decoding_but_not_its_labels(
    described: Description, tokenizer: TextTokenizer
) -> None:
    task = task_of(described, tokenizer)
    assert isinstance(task, Classify)
    assert (task.settings.labels, task.settings.max_tokens) == (["a", "b"], 64)
    changed = Classify(tokenizer, replace(task.settings, threshold=0.7))
    decoding = decoding_of(changed)
    assert decoding["threshold"] == 0.7
    assert not {"labels", "max_tokens"} & decoding.keys()
    again = task_of(replace(described, decoding=decoding), tokenizer)
    assert again.settings == changed.settings


def test_what_is_saved_can_be_loaded_and_its_steps_are_gone(
    described: Description, make_recipe: Callable[..., Recipe], tiny_bert: Path, tmp_path: Path
) -> None:
    recipe = make_recipe("intent")
    model = load_model(recipe.kind, tiny_bert, ["a", "b"])
    (tmp_path / "steps").mkdir()
    extra = {"more": {"things": 1}}
    save_checkpoint(model, described, recipe, accuracy(0.9), FIT, 40, 7, tmp_path, extra)
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert load_model(recipe.kind, tmp_path).config.id2label == {0: "a", 1: "b"}
    assert not (tmp_path / "steps").exists()
    record = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert record["test"]["value"] == 0.9 and record["test"]["data"] == "test split"
    assert record["more"] == {"things": 1}
    train = record["train"]
    assert (train["rows"], train["parameters_trained"], train["seed"]) == (40, 7, recipe.seed)
    assert (train["wall_time_s"], train["tokens_per_s"]) == (2.0, 50)


def test_a_base_and_a_checkpoint_are_loaded_without_a_pickle(
    described: Description,
    make_recipe: Callable[..., Recipe],
    tiny_bert: Path,
    tmp_path: Path,
    unpickled: list[str],
) -> None:
    recipe = make_recipe("intent")
    model = load_model(recipe.kind, resolve(str(tiny_bert)).path, ["a", "b"])
    save_checkpoint(model, described, recipe, accuracy(0.9), FIT, 40, 7, tmp_path, {})
    again = load_model(recipe.kind, tmp_path).state_dict()
    assert all(torch.equal(again[name], ours) for name, ours in model.state_dict().items())
    assert unpickled == []
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_metrics_are_written_last(
    described: Description,
    make_recipe: Callable[..., Recipe],
    tiny_bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever file cannot be written, there is no `metrics.json` without it."""
    recipe = make_recipe("intent")
    model = load_model(recipe.kind, tiny_bert, ["a", "b"])

    def full(*arguments: object, **options: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("training.checkpoint.write_description", full)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(model, described, recipe, accuracy(0.9), FIT, 40, 7, tmp_path, {})
    assert not (tmp_path / "metrics.json").exists()
    refuse_finished(tmp_path)


def test_a_finished_folder_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {})
    with pytest.raises(TransferError, match="already holds a finished checkpoint") as caught:
        refuse_finished(tmp_path)
    assert caught.value.code == "exists" and "out=DIR" in caught.value.hint


def test_json_is_written_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"text": "äöü"})
    with pytest.raises(TypeError):
        write_json(path, {"text": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"text": "äöü"}
    assert "äöü" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("taught", "plain", "said"),
    [(0.9, 0.8, "won"), (0.8, 0.9, "lost"), (0.5, 0.5, "undecided")],
)
def test_a_comparison_says_truly_who_won(
    taught: float, plain: float, said: str, tmp_path: Path
) -> None:
    (tmp_path / "without-teacher").mkdir()
    write_json(tmp_path / "without-teacher" / "fit.json", FIT.record())
    recipe = Recipe(name="x", kind="sequence-classification", student_layers=[0])
    record = comparison(recipe, accuracy(taught), accuracy(1.0), accuracy(plain), tmp_path)
    assert record["verdict"] == said
    assert record["gain_over_without_teacher"]["value"] == pytest.approx(taught - plain)
    assert (record["without_teacher"]["value"], record["without_teacher"]["steps"]) == (plain, 4)
    assert record["share_of_teacher"] == taught


def test_a_gain_of_luck_is_not_won(tmp_path: Path) -> None:
    (tmp_path / "without-teacher").mkdir()
    write_json(tmp_path / "without-teacher" / "fit.json", FIT.record())
    recipe = Recipe(name="x", kind="sequence-classification")
    right = np.array([1, 1, 1, 0, 0, 0, 1, 1, 0, 1])
    better = Evaluation("accuracy", 10, lambda rows: float(right[rows].mean()), [])
    record = comparison(recipe, better, accuracy(1.0), accuracy(0.5), tmp_path)
    gain = record["gain_over_without_teacher"]
    assert gain["ci_low"] < 0 < gain["value"]
    assert record["verdict"] == "undecided"


def test_without_a_control_nothing_is_claimed(tmp_path: Path) -> None:
    recipe = Recipe(name="x", kind="sequence-classification")
    record = comparison(recipe, accuracy(0.5), accuracy(1.0), None, tmp_path)
    assert "verdict" not in record and "without_teacher" not in record


def test_tokens_per_second_count_what_was_read_since_the_training_went_on() -> None:
    record = replace(FIT, resumed_step=2).record()
    assert (record["resumed_step"], record["tokens_per_s"]) == (2, 50)
    assert np.isfinite(record["dev_best"])
