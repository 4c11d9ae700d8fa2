"""Recipe in, full checkpoint out, for every kind of job and both shapes of encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel
from safetensors.torch import load_file

from services.errors import TransferError, UsageError
from services.tasks.kinds import build_task
from services.windows import TextTokenizer
from tests.training.tiny_data import write_jsonl
from training.checkpoint import read_description, task_of
from training.data import load_data
from training.evaluate import class_scores, evaluate, run
from training.finetune import finetune, label_shares, trainable_rows
from training.held_out import decoding_rows
from training.models import TorchRunner, load_model
from training.recipe import Recipe, load_recipe
from training.rows import DataError, LabelledText

MakeRecipe = Callable[..., Recipe]
Teachers = Callable[[str, str], Path]
JOBS = [
    ("intent", "bert"),
    ("intent", "distilbert"),
    ("tags", "bert"),
    ("tags", "distilbert"),
    ("reader", "bert"),
    ("reader", "distilbert"),
    ("highlights", "bert"),
    ("highlights", "distilbert"),
]
METRICS = {"intent": "accuracy", "tags": "macro_f1", "reader": "f1", "highlights": "rouge1"}


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("job", "base"), JOBS)
def test_a_checkpoint_is_complete(job: str, base: str, teachers: Teachers) -> None:
    folder = teachers(job, base)
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "recipe.yaml",
        "checkpoint.json",
        "metrics.json",
    }
    assert not names & {"steps", "adapter", "teacher"}
    newest = max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert newest.name == "metrics.json"


@pytest.mark.parametrize(("job", "base"), JOBS)
def test_what_is_recorded_is_what_the_checkpoint_scores(
    job: str, base: str, teachers: Teachers
) -> None:
    folder = teachers(job, base)
    recipe, description = load_recipe(folder / "recipe.yaml"), read_description(folder)
    task = task_of(description, TextTokenizer.load(folder / "tokenizer.json"))
    infer = TorchRunner(load_model(recipe.kind, folder), recipe.kind, task.tokenizer.pad_id)
    rows = load_data(recipe)["test"]
    found = evaluate(task, rows, infer, recipe.out_of_scope, recipe.summary_sentences)
    recorded = metrics(folder)["test"]
    assert found.value == pytest.approx(recorded["value"], abs=1e-9)
    assert (recorded["metric"], recorded["n"]) == (METRICS[job], found.n)
    assert recorded["ci_low"] <= recorded["ci_high"]


@pytest.mark.parametrize(("job", "base"), JOBS)
def test_the_record_says_how_it_was_trained(
    job: str, base: str, teachers: Teachers, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(job, base)
    train = metrics(teachers(job, base))["train"]
    assert (train["seed"], train["strategy"]) == (recipe.seed, "full")
    assert train["steps"] == recipe.max_steps
    assert train["rows"] == len(load_data(recipe)["train"])
    assert train["tokens_per_s"] > 0 and train["wall_time_s"] >= 0 and train["cpu_time_s"] > 0
    assert 0 < train["parameters_trained"] < train["parameters"]  # embeddings are frozen
    assert len(train["dev_history"]) == recipe.evaluations
    assert read_description(teachers(job, base)).recipe_digest == recipe.digest


def test_the_class_outside_of_all_is_no_class(teachers: Teachers) -> None:
    description = read_description(teachers("intent", "bert"))
    assert description.labels == ["billing", "returns", "shipping"]
    assert description.out_of_scope == "other"
    assert {"out_of_scope_auroc", "out_of_scope_recall"} <= metrics(teachers("intent", "bert"))[
        "test"
    ].keys()


def test_rows_outside_train_or_choose_the_threshold_and_never_both(make_recipe: MakeRecipe) -> None:
    """Ten of them: eight in train, one in dev, one in test."""

    def outside(rows: list[Any]) -> int:
        return sum(row.labels == ("other",) for row in rows)

    for weight, trained, choosing in ((0.0, 0, 9), (1.0, 8, 1)):
        recipe = make_recipe("intent", out_of_scope_weight=weight)
        splits = load_data(recipe)
        assert outside(trainable_rows(splits["train"], recipe)) == trained
        assert outside(decoding_rows(splits, recipe)) == choosing


def test_rows_outside_make_the_model_less_sure_of_them(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    best = [
        _best_score_outside(
            finetune(
                make_recipe("intent", max_steps=150, out_of_scope_weight=weight),
                tmp_path / f"weight-{weight}",
                progress=False,
            )
        )
        for weight in (0.0, 5.0)
    ]
    assert best[1] < best[0] - 0.1, best


def _best_score_outside(folder: Path) -> float:
    """Mean softmax of the best label, over all texts out of scope."""
    recipe = load_recipe(folder / "recipe.yaml")
    task = build_task(
        recipe.kind,
        TextTokenizer.load(folder / "tokenizer.json"),
        read_description(folder).labels,
        recipe.max_tokens,
        {},
    )
    infer = TorchRunner(load_model(recipe.kind, folder), recipe.kind, task.tokenizer.pad_id)
    rows = [r for rows in load_data(recipe).values() for r in rows if r.labels == ("other",)]
    return float(class_scores(task, *run(task, rows, infer)).max(axis=1).mean())  # type: ignore[arg-type]


def test_several_labels_have_a_threshold_each(teachers: Teachers) -> None:
    description = read_description(teachers("tags", "bert"))
    assert description.decoding["multi_label"] is True
    assert len(description.decoding["thresholds"]) == len(description.labels) == 2


def test_a_reader_is_scored_with_and_without_answers(teachers: Teachers) -> None:
    test = metrics(teachers("reader", "bert"))["test"]
    assert {"exact_match", "no_answer_f1", "f1_of_answerable"} <= test.keys()


def test_an_extractive_summarizer_stands_beside_its_baselines(teachers: Teachers) -> None:
    found = metrics(teachers("highlights", "bert"))
    assert sorted(found["baselines"]) == ["lead_2", "textrank"]
    assert found["baselines"]["lead_2"]["n"] == found["test"]["n"]
    # the key sentences are the second and the last: the first two hold one of them
    assert found["test"]["value"] == 1.0 > found["baselines"]["lead_2"]["value"]


def test_classes_are_learned_better_than_by_chance(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("intent", max_steps=60, freeze_embeddings=False)
    found = metrics(finetune(recipe, tmp_path / "out", progress=False))
    assert found["test"]["value"] > 0.6  # three classes
    assert found["train"]["dev_best"] > 0.6


# Strategies


def lora(make_recipe: MakeRecipe, job: str, base: str) -> Recipe:
    return make_recipe(job, base, strategy="lora", lora_r=4, max_steps=3)


@pytest.mark.parametrize(
    ("job", "base"),
    [
        ("intent", "bert"),
        ("intent", "distilbert"),
        ("reader", "bert"),
        ("highlights", "distilbert"),
    ],
)
def test_a_lora_adapter_over_the_base_is_the_merged_checkpoint(
    job: str, base: str, make_recipe: MakeRecipe, tmp_path: Path, bases: dict[str, Path]
) -> None:
    recipe = lora(make_recipe, job, base)
    out = finetune(recipe, tmp_path / "out", progress=False)
    config = PeftConfig.from_pretrained(str(out / "adapter"))
    assert (config.peft_type, config.base_model_name_or_path) == ("LORA", str(bases[base]))
    torch.manual_seed(12345)  # whatever a new head would start from
    plain = load_model(recipe.kind, bases[base], read_description(out).labels)
    merged = PeftModel.from_pretrained(plain, str(out / "adapter")).merge_and_unload().state_dict()
    saved = load_file(out / "model.safetensors")
    assert merged.keys() == saved.keys()
    for name, tensor in saved.items():
        assert torch.allclose(merged[name], tensor, atol=1e-6), name
    untouched = load_file(bases[base] / "model.safetensors")
    changed = [
        n
        for n in saved
        if (o := untouched.get(n.partition(".")[2])) is not None and not torch.equal(o, saved[n])
    ]
    assert len(changed) >= 4 * 6


def test_a_lora_adapter_names_no_folder_of_this_machine(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("intent", base="bert", strategy="lora", max_steps=1)
    out = finetune(replace(recipe, base="embedded"), tmp_path / "out", progress=False)
    config = json.loads((out / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
    names = {path.name for path in (out / "adapter").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}


def test_feature_extraction_changes_the_head_alone(
    make_recipe: MakeRecipe, tmp_path: Path, tiny_distilbert: Path
) -> None:
    recipe = make_recipe("intent", "distilbert", strategy="head", max_steps=2)
    out = finetune(recipe, tmp_path / "out", progress=False)
    base, tuned = (load_file(f / "model.safetensors") for f in (tiny_distilbert, out))
    assert all(torch.equal(tuned[f"distilbert.{name}"], tensor) for name, tensor in base.items())
    assert metrics(out)["train"]["parameters_trained"] == 32 * 32 + 32 + 32 * 3 + 3


# Going on


@pytest.mark.parametrize(("job", "base"), [("intent", "bert"), ("dialogue", "t5")])
def test_a_training_goes_on_from_a_checkpoint(
    job: str, base: str, teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    start = teachers(job, base)
    still = {"learning_rate": 1e-9, "max_steps": 1}
    out = finetune(make_recipe(job, base, start=str(start), **still), tmp_path / "out", False)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (out, start))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)
    assert read_description(out).base == read_description(start).base


def test_a_training_does_not_go_on_from_another_job(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    start = str(teachers("reader", "bert"))
    with pytest.raises(UsageError, match="is a question-answering checkpoint"):
        finetune(make_recipe("intent", start=start), tmp_path / "out", False)


def test_a_checkpoint_with_other_labels_lends_its_encoder(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    start = teachers("intent", "bert")
    still = {"learning_rate": 1e-9, "max_steps": 1}
    out = finetune(make_recipe("tags", start=str(start), **still), tmp_path / "out", False)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (out, start))
    encoder = [name for name in theirs if not name.startswith("classifier")]
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in encoder)
    assert read_description(out).labels != read_description(start).labels


def test_labels_of_a_new_head_start_at_their_share_of_the_rows() -> None:
    rows = [LabelledText("a", ("x",)), LabelledText("b", ("x", "y")), LabelledText("c", ("x",))]
    assert label_shares(rows, ["x", "y"]) == pytest.approx([1.0, 1 / 3])


# What is refused, and leaves nothing behind


def test_a_finished_folder_is_refused(teachers: Teachers, make_recipe: MakeRecipe) -> None:
    folder = teachers("intent", "bert")
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(TransferError, match="already holds a finished checkpoint"):
        finetune(make_recipe("intent"), folder)
    assert (folder / "metrics.json").read_bytes() == before


def test_bad_rows_leave_no_folder(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "", "team": "x"}] * 3)
    with pytest.raises(DataError, match="3 bad rows"):
        finetune(make_recipe("intent", data=str(path)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_windows_that_are_too_long_for_the_base_are_refused(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="reads at most 256"):
        finetune(make_recipe("intent", max_tokens=512), tmp_path / "out")
    assert not (tmp_path / "out" / "metrics.json").exists()
