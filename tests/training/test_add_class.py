"""New classes for a finished classifier: what is learned, what is kept, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

from services.errors import TransferError, UsageError
from tests.training.tiny_data import NAMES, write_jsonl
from training.add_class import (
    EVERY_ROW,
    METHODS,
    Addition,
    add_class,
    replayed,
    with_more_labels,
)
from training.checkpoint import read_description
from training.data import load_data
from training.held_out import held_out
from training.models import load_model
from training.recipe import Recipe, load_recipe
from training.rows import LabelledText

MakeRecipe = Callable[..., Recipe]
Teachers = Callable[[str, str], Path]
OLD = ["billing", "returns", "shipping"]
FEW = ("max_steps=6", "evaluations=1")


def rows_of(label: str, text: str) -> list[dict[str, Any]]:
    return [{"text": text.format(name), "label": label} for name in NAMES]


@pytest.fixture(scope="module")
def repairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One new class."""
    rows = rows_of("repairs", "the lamp of {} is broken and must be mended")
    return str(write_jsonl(tmp_path_factory.mktemp("new") / "new.jsonl", rows))


@pytest.fixture(scope="module")
def added(
    teachers: Teachers, repairs: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Any]]:
    """method -> (checkpoint, report)"""
    made = {}
    for method in METHODS:
        out = tmp_path_factory.mktemp(method) / "more"
        keys = (*FEW, "max_steps=12") if method == "replay" else FEW
        addition = Addition(teachers("intent", "bert"), repairs, method, 4, "", 100.0, keys)
        made[method] = (out, add_class(addition, out, progress=False))
    return made


@pytest.mark.parametrize("method", METHODS)
def test_old_and_new_classes_are_judged_apart(
    method: str, added: dict[str, tuple[Path, Any]], teachers: Teachers
) -> None:
    out, report = added[method]
    before = json.loads((teachers("intent", "bert") / "metrics.json").read_text())["test"]
    assert report["old_before"]["value"] == before["value"]
    assert report["old_before"]["n"] == report["old_after"]["n"] == before["n"]
    loss = report["old_before"]["value"] - report["old_after"]["value"]
    assert report["old_loss"]["value"] == pytest.approx(loss)
    sizes = report["old_after"]["n"], report["new"]["n"], report["all"]["n"]
    assert sizes[0] + sizes[1] == sizes[2]
    right = sum(report[part]["value"] * report[part]["n"] for part in ("old_after", "new"))
    assert report["all"]["value"] == pytest.approx(right / sizes[2])
    assert json.loads((out / "metrics.json").read_text())["add_class"]["method"] == method


@pytest.mark.parametrize("method", METHODS)
def test_the_result_is_a_checkpoint_like_any_other(
    method: str, added: dict[str, tuple[Path, Any]], teachers: Teachers
) -> None:
    out, report = added[method]
    old, found = read_description(teachers("intent", "bert")), read_description(out)
    assert found.labels == [*OLD, "repairs"] == [*old.labels, *report["new_labels"]]
    assert (found.model, found.base, found.role) == (old.model, old.base, old.role)
    assert load_model(found.kind, out).config.num_labels == 4
    recipe = load_recipe(out / "recipe.yaml")
    held = held_out(recipe)
    assert {row.labels[0] for row in held.test.rows} == {*OLD, "other", "repairs"}
    assert len(load_data(recipe)["train"]) == report["replayed_rows"] + report["new_rows"]
    assert report["replayed_rows"] == 4 * 4


def test_the_whole_head_moves_for_head_and_nothing_else(
    added: dict[str, tuple[Path, Any]], teachers: Teachers
) -> None:
    old = load_file(teachers("intent", "bert") / "model.safetensors")
    moved = {}
    for method in METHODS:
        new = load_file(added[method][0] / "model.safetensors")
        moved[method] = {
            name.rpartition(".")[0]
            for name in old
            if not torch.equal(old[name], new[name][: len(old[name])])
        }
    assert moved["head"] == {"classifier", "bert.pooler.dense"}  # compared: the old classes' rows
    for method in ("replay", "distill"):
        assert any(name.startswith("bert.encoder.") for name in moved[method])


def test_before_training_the_old_classes_have_their_old_logits(
    teachers: Teachers, make_recipe: MakeRecipe
) -> None:
    for base in ("bert", "distilbert"):
        folder = teachers("intent", base)
        grown = with_more_labels(folder, [*OLD, "one", "two"], make_recipe("intent", base)).eval()
        old = load_model("sequence-classification", folder).eval()
        ids = torch.tensor([[2, 5, 6, 3]])
        with torch.no_grad():
            ours, theirs = grown(input_ids=ids).logits, old(input_ids=ids).logits
        assert ours.shape == (1, 5)
        assert torch.allclose(ours[:, :3], theirs, atol=1e-6)
        assert grown.config.id2label[4] == "two"


def test_a_further_class_is_added_to_the_rows_that_were_kept(
    added: dict[str, tuple[Path, Any]], tmp_path: Path
) -> None:
    rows = rows_of("praise", "{} is happy with the machine")
    data = str(write_jsonl(tmp_path / "praise.jsonl", rows))
    addition = Addition(added["replay"][0], data, "replay", 3, "", 100.0, FEW)
    report = add_class(addition, tmp_path / "out", progress=False)
    assert read_description(tmp_path / "out").labels == [*OLD, "repairs", "praise"]
    assert report["old_before"]["value"] == added["replay"][1]["all"]["value"]


def test_rows_of_each_class_are_drawn_by_the_seed() -> None:
    rows = [LabelledText(f"{label} {i}", (label,)) for i in range(9) for label in "ab"]
    found = replayed(rows, 3, 7)
    assert [row.labels[0] for row in found].count("a") == 3 and len(found) == 6
    assert found == replayed(rows, 3, 7) != replayed(rows, 3, 8)
    assert found == sorted(found, key=rows.index)
    assert replayed(rows, 0, 7) == [] and replayed(rows, EVERY_ROW, 7) == rows


def test_one_that_forgot_too_much_is_no_checkpoint_and_its_training_is_kept(
    teachers: Teachers, repairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = Addition(teachers("intent", "bert"), repairs, "replay", 4, "", -101.0, FEW)
    out = tmp_path / "out"
    with pytest.raises(TransferError, match=r"replay lost .* points .* at most -101 may") as caught:
        add_class(strict, out, progress=False)
    assert caught.value.status == 500  # exit code 1
    assert json.loads((out / "refused.json").read_text())["max_loss"] == -101.0
    with pytest.raises(TransferError, match="is not a checkpoint"):
        read_description(out)

    def no_step(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "training_step", no_step)
    with pytest.raises(UsageError, match="holds an unfinished addition with other settings"):
        add_class(replace(strict, replay=5), out, progress=False)
    report = add_class(replace(strict, max_loss=100.0), out, progress=False)
    assert read_description(out).labels[-1] == "repairs"
    assert not (out / "refused.json").exists() and report["train"]["steps"] == 6


def test_other_columns_and_another_place_of_the_old_rows(
    teachers: Teachers, data_folder: Path, tmp_path: Path
) -> None:
    rows = [
        {"words": row["text"], "kind": row["label"]}
        for row in rows_of("repairs", "{} has a broken lamp")
    ]
    data = str(write_jsonl(tmp_path / "new.jsonl", rows))
    keys = (*FEW, "columns={text: words, label: kind}", "name=desk")
    old = tmp_path / "elsewhere.jsonl"
    old.write_bytes((data_folder / "tickets.jsonl").read_bytes())
    addition = Addition(teachers("intent", "bert"), data, "replay", 2, str(old), 100.0, keys)
    add_class(addition, tmp_path / "out", progress=False)
    assert read_description(tmp_path / "out").model == "desk"


def test_what_the_adapter_was_made_into_has_the_preset_of_its_name(
    teachers: Teachers, repairs: str, tmp_path: Path
) -> None:
    built = tmp_path / "built"
    shutil.copytree(teachers("intent", "bert"), built)
    (built / "recipe.yaml").unlink()
    rows = [{"text": f"{i} {label}", "intent": label} for i in range(20) for label in "bd"]
    old = write_jsonl(tmp_path / "old.jsonl", rows)
    with pytest.raises(UsageError, match="other classes than intent knows: b, billing, d, returns"):
        add_class(Addition(built, repairs, old=str(old)), tmp_path / "out", False)


# What is refused


def test_classes_that_are_known_are_named(teachers: Teachers, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "new.jsonl", rows_of("billing", "{} pays"))
    with pytest.raises(UsageError, match="has rows of billing, which intent knows"):
        add_class(Addition(teachers("intent", "bert"), str(data)), tmp_path / "out", False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("job", "found"), [("tags", "a classifier of several labels"), ("reader", "question-answering")]
)
def test_models_of_other_kinds(
    job: str, found: str, teachers: Teachers, repairs: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"is {found}; expected a classifier with one label"):
        add_class(Addition(teachers(job, "bert"), repairs), tmp_path / "out", False)


def test_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="method is 'magic'; expected one of replay, distill, head"
    ):
        Addition(tmp_path, "new.csv", "magic")
    with pytest.raises(UsageError, match="replay is -2"):
        Addition(tmp_path, "new.csv", replay=-2)
