"""Recipes: presets, inheritance, overrides, and faults that are all told at once."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.errors import UsageError
from training.recipe import (
    RECIPES,
    TASK_OF_KIND,
    YOUNGER,
    Recipe,
    changed,
    load_recipe,
    parse_recipe,
)

PRESETS = sorted(RECIPES.glob("*.yaml"))
LEAST = {"name": "x", "kind": "sequence-classification"}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_parses_and_names_its_data_and_licence(preset: Path) -> None:
    recipe = load_recipe(preset.stem)
    assert recipe == load_recipe(preset)
    assert recipe.task == TASK_OF_KIND[recipe.kind]
    assert recipe.data and recipe.data_licence and recipe.data_attribution


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_opens_with_the_command_that_runs_it(preset: Path) -> None:
    verb = "distill" if preset.stem.endswith("-distilled") else "train"
    first = preset.read_text(encoding="utf-8").splitlines()[0]
    assert f"{first} ".startswith(f"# transfer {verb} {preset.stem} ")


def test_only_distilled_presets_name_student_layers() -> None:
    for preset in PRESETS:
        assert bool(load_recipe(preset).student_layers) == preset.stem.endswith("-distilled")


def test_an_unknown_recipe_lists_the_presets() -> None:
    with pytest.raises(UsageError, match="No recipe nowhere") as caught:
        load_recipe("nowhere")
    assert "sample-tickets" in caught.value.hint


def test_an_unknown_key_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"unknown key 'learning_rat'.*'learning_rate'"):
        parse_recipe({**LEAST, "learning_rat": 1e-4}, "x.yaml")


def test_a_key_that_is_no_text_is_an_unknown_key() -> None:
    with pytest.raises(UsageError, match="unknown key 5"):
        parse_recipe({**LEAST, 5: 1}, "x.yaml")  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": "many"}, "epochs: 'many' does not fit"),
        ({"student_layers": "0"}, "student_layers"),
        ({"kind": "poetry"}, "kind is 'poetry'; expected one of sequence-classification"),
        ({"strategy": "magic"}, "strategy is 'magic'; expected one of head, full, lora, scratch,"),
        ({"batch_size": 0}, "batch_size is 0; expected at least 1"),
        ({"max_steps": -1}, "max_steps is -1; expected at least 0"),
        ({"alpha": 1.5}, "alpha is 1.5; expected 0 to 1"),
        ({"null_ratio": 2}, "null_ratio is 2.0; expected 0 to 1"),
        ({"temperature": 0}, "temperature is 0.0; expected more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"stride": 100, "max_tokens": 128}, "stride is 100; expected at most half"),
        ({"max_tokens": 32}, "stride is 32; expected at most half"),  # the default stride counts
        ({"max_tokens": 4, "stride": 0}, "max_tokens is 4; expected at least 16"),
        ({"kind": "seq2seq", "strategy": "head"}, "seq2seq has no new head"),
        ({"multi_label": True, "out_of_scope": "other"}, "out_of_scope goes with one label"),
        ({"out_of_scope_weight": 0.5}, "out_of_scope_weight needs out_of_scope"),
        ({"out_of_scope": "o", "out_of_scope_weight": -1}, "out_of_scope_weight is -1.0; expected"),
        ({"start": "checkpoints/x", "strategy": "lora"}, "start does not go with lora"),
        ({"start": "checkpoints/x", "strategy": "scratch"}, "start does not go with scratch"),
        (
            {"kind": "seq2seq", "decoder_layers": [0], "strategy": "lora"},
            "decoder_layers does not go with lora",
        ),
        (
            {"kind": "seq2seq", "new_tokens": ["a"], "strategy": "lora"},
            "new_tokens does not go with lora",
        ),
        ({"decoder_layers": [0]}, "decoder_layers is for seq2seq; kind is 'sequence-class"),
        ({"new_tokens": ["a"]}, "new_tokens is for seq2seq"),
        ({"cross_attention": "none"}, "cross_attention is 'none'; expected one of copied, random"),
        ({"last_layers": 0}, "last_layers is 0; expected at least 1"),
        ({"layer_decay": 0.5}, "layer_decay is 0.5; expected at least 1"),
        ({"unfreeze_ratio": 2}, "unfreeze_ratio is 2.0; expected 0 to 1"),
        ({"head_epochs": 0}, "head_epochs is 0.0; expected more than 0"),
        ({"schedule": "cosine"}, "schedule is 'cosine'; expected one of linear, slanted_triang"),
        ({"sampling": "odd"}, "sampling is 'odd'; expected one of balanced"),
        ({"class_weights": "odd"}, "class_weights is 'odd'; expected one of balanced, effective"),
        ({"focal_gamma": -1}, "focal_gamma is -1.0; expected at least 0"),
        (
            {"focal_gamma": 2, "label_smoothing": 0.1},
            "focal_gamma does not go with label_smoothing",
        ),
        ({"kind": "question-answering", "pooling": "mean"}, "pooling is for sequence-class"),
        ({"kind": "seq2seq", "examples_per_class": 3}, "examples_per_class is for sequence-class"),
        ({"kind": "seq2seq", "strategy": "two_stage"}, "seq2seq has no new head"),
        ({"strategy": "prototypes"}, "prototypes compares mean embeddings: set `pooling=mean`"),
        (
            {"strategy": "contrastive", "pooling": "mean", "multi_label": True},
            "contrastive goes with one label per text, not multi_label",
        ),
        (
            {"kind": "sentence-extraction", "strategy": "contrastive"},
            "contrastive is for sequence-classification; kind is 'sentence-extraction'",
        ),
        *(
            ({"kind": kind, **changes}, f"{next(iter(changes))} is for .*; kind is '{kind}'")
            for kind, changes in [
                ("question-answering", {"label_smoothing": 0.1}),
                ("sentence-extraction", {"label_smoothing": 0.1}),
                ("sentence-extraction", {"temperature": 4.0}),
                ("seq2seq", {"temperature": 4.0}),
                ("seq2seq", {"hidden_weight": 1.0}),
                ("seq2seq", {"relation_weight": 1.0}),
            ]
        ),
        ({"multi_label": True, "label_smoothing": 0.1}, "label_smoothing goes with one label"),
        *(
            (
                {"strategy": strategy, "pooling": "mean", key: value},
                f"{key} changes nothing with strategy {strategy}: set `{key}={unset}`",
            )
            for strategy in ("contrastive", "prototypes")
            for key, value, unset in [
                ("class_weights", "balanced", ""),
                ("focal_gamma", 2, "0.0"),
                ("label_smoothing", 0.1, "0.0"),
                ("sampling", "balanced", ""),
            ]
        ),
        ({"name": ""}, "name is missing"),
    ],
)
def test_a_wrong_value_says_what_was_expected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_recipe({**LEAST, **changes}, "x.yaml")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "seq2seq", "label_smoothing": 0.1},
        {"kind": "seq2seq", "temperature": 2.0, "hidden_weight": 0.0},  # as a saved recipe has it
        {"kind": "question-answering", "temperature": 4.0, "hidden_weight": 1.0},
        {"label_smoothing": 0.1, "class_weights": "balanced"},
        {"strategy": "prototypes", "pooling": "mean", "head_learning_rate": 3e-3},
    ],
)
def test_a_key_that_changes_something_or_nothing_of_note_is_taken(changes: dict[str, Any]) -> None:
    recipe = parse_recipe({**LEAST, **changes}, "x.yaml")
    assert {key: getattr(recipe, key) for key in changes} == changes


@pytest.mark.parametrize("strategy", ["contrastive", "prototypes"])
def test_a_preset_can_be_trained_by_distances(strategy: str) -> None:
    for name in ("intent", "intent-imbalanced", "banking"):
        recipe = load_recipe(name, [f"strategy={strategy}", "pooling=mean"])
        assert recipe.strategy == strategy


def test_changed_keys_are_held_to_the_checks_of_a_file() -> None:
    recipe = load_recipe("intent")
    assert changed(recipe, {"epochs": 2}, "here") == replace(recipe, epochs=2.0)
    with pytest.raises(UsageError, match=r"^here: focal_gamma does not go with label_smoothing"):
        changed(recipe, {"focal_gamma": 2, "label_smoothing": 0.1}, "here")


def test_all_faults_are_reported_at_once_in_the_order_of_the_file() -> None:
    faulty = {"kind": "poetry", "epochs": "many", "batch_size": "x", "lerning_rate": 1}
    with pytest.raises(UsageError) as caught:
        parse_recipe(faulty, "mine.yaml")
    message = caught.value.message
    places = [message.index(word) for word in ("'lerning_rate'", "name is", "epochs:", "batch_si")]
    assert message.startswith("mine.yaml: ") and "kind is 'poetry'" in message
    assert places == sorted(places)


def test_extends_takes_over_what_is_not_set(tmp_path: Path) -> None:
    write(tmp_path / "parent.yaml", "name: x\nkind: question-answering\nepochs: 9\nseed: 1\n")
    child = write(tmp_path / "child.yaml", "extends: parent.yaml\nseed: 2\n")
    recipe = load_recipe(child)
    assert (recipe.kind, recipe.epochs, recipe.seed) == ("question-answering", 9.0, 2)


@pytest.mark.parametrize("way", ["a.yaml", "../{folder}/a.yaml"])
def test_a_circle_of_extends_is_refused(tmp_path: Path, way: str) -> None:
    path = write(tmp_path / "a.yaml", "extends: b.yaml\n")
    write(tmp_path / "b.yaml", f"extends: {way.format(folder=tmp_path.name)}\n")
    with pytest.raises(UsageError, match="extends itself"):
        load_recipe(path)


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "extends: gone.yaml\n")
    with pytest.raises(UsageError, match=r"gone\.yaml cannot be read"):
        load_recipe(path)


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("- a\n", "holds list")])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe(write(tmp_path / "a.yaml", text))


def test_overrides_take_yaml_values() -> None:
    recipe = load_recipe(
        "sample-tickets",
        [
            "max_steps=3",
            "learning_rate=1e-3",
            "bf16=true",
            "student_layers=[0, 2]",
            "columns={text: body, label: 1}",
            "out_of_scope=",
        ],
    )
    assert (recipe.max_steps, recipe.learning_rate, recipe.bf16) == (3, 1e-3, True)
    assert recipe.student_layers == [0, 2]
    assert recipe.columns == {"text": "body", "label": 1}
    assert recipe.out_of_scope == ""


@pytest.mark.parametrize("override", ["max_steps", "columns={text: body"])
def test_an_override_that_is_no_key_and_value_is_refused(override: str) -> None:
    with pytest.raises(UsageError, match="is not key=value"):
        load_recipe("sample-tickets", [override])


def test_a_saved_recipe_is_loaded_as_it_was(tmp_path: Path) -> None:
    recipe = load_recipe("intent-distilled", ["data=there"])
    recipe.save(tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_the_digest_does_not_depend_on_where_the_data_lies() -> None:
    recipe = load_recipe("intent")
    assert replace(recipe, data="elsewhere").digest == recipe.digest
    here, there = (replace(recipe, start=folder).digest for folder in ("here", "there"))
    assert here == there != recipe.digest


@pytest.mark.parametrize("key", [item.name for item in fields(Recipe) if item.name != "data"])
def test_the_digest_depends_on_everything_else(key: str) -> None:
    recipe = load_recipe("intent")
    value = getattr(recipe, key)
    other: dict[type, Any] = {str: "other", int: 99, float: 0.55, list: [9], dict: {"k": "v"}}
    other[type(None)] = 0.3
    changed = not value if isinstance(value, bool) else other[type(value)]
    assert replace(recipe, **{key: changed}).digest != recipe.digest


def test_younger_keys_leave_older_digests_as_they_were() -> None:
    """Checkpoints keep the digest that they were trained with, before these keys were known."""
    recipe = load_recipe("intent")
    content = {**asdict(recipe), "data": "", "start": False, "calibration_data": False}
    old = {key: value for key, value in content.items() if key not in YOUNGER}
    encoded = msgspec.json.encode(old, order="sorted")
    assert recipe.digest == hashlib.sha256(encoded).hexdigest()


def test_extra_data_counts_by_its_name_and_not_by_its_place() -> None:
    recipe = load_recipe("news")
    here, there = (replace(recipe, extra_data={"x": folder}).digest for folder in ("a", "b"))
    assert here == there != replace(recipe, extra_data={"y": "a"}).digest


def test_deriving_is_for_sentence_extraction() -> None:
    with pytest.raises(UsageError, match="derive is for sentence-extraction; kind is 'question"):
        load_recipe("reader", ["derive=principal-sentences"])
