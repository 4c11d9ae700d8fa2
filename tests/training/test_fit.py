"""The training loop: it learns, it scores its end, and a kill changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from services.errors import UsageError
from training import finetune as finetune_module
from training import fit as module
from training.data import load_data
from training.evaluate import evaluate
from training.features import features
from training.finetune import class_names, finetune, trainable_rows
from training.fit import (
    AnyLengths,
    SimilarLengths,
    last_checkpoint,
    training_arguments,
)
from training.models import TorchRunner, load_model
from training.recipe import Recipe
from training.strategies import apply_strategy
from training.watching import Watch

MakeRecipe = Callable[..., Recipe]


class Killed(BaseException):
    """What no `except Exception` catches, like a real kill."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """kill_at(3): the next training dies when its third step begins; kill_at(0): none does."""

    def kill(step: int) -> None:
        class Killer(TrainerCallback):
            def on_step_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
                if step and state.global_step == step - 1:
                    raise Killed

        # Also for strategies that imported `callbacks` from there by name.
        monkeypatch.setattr(module, "watch", lambda: Watch(callbacks=(Killer(),)))

    yield kill


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def same(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


# Resuming


@pytest.mark.parametrize(
    "changes",
    [
        {"max_steps": 4},
        {"max_steps": 8},  # the kill is in the second epoch
        {"max_steps": 4, "accumulate": 2},
        {"max_steps": 4, "strategy": "lora"},
        {"max_steps": 8, "strategy": "gradual", "unfreeze_ratio": 1.0},
        {"max_steps": 4, "strategy": "head"},
        # Three steps of the first stage: the fourth is one of the second.
        {"max_steps": 4, "strategy": "two_stage", "head_epochs": 1.0},
        {"max_steps": 4, "strategy": "contrastive", "pooling": "mean", "out_of_scope_weight": 0.0},
        {"max_steps": 8, "sampling": "balanced", "class_weights": "effective"},
    ],
    ids=str,
)
def test_a_killed_training_ends_as_if_it_had_not_been_killed(
    changes: dict[str, Any],
    make_recipe: MakeRecipe,
    tmp_path: Path,
    kill_at: Callable[[int], None],
) -> None:
    recipe = make_recipe("intent", evaluations=2, **changes)
    half = recipe.max_steps // 2
    whole = finetune(recipe, tmp_path / "whole", progress=False)
    kill_at(half + 2)
    with pytest.raises(Killed):
        finetune(recipe, tmp_path / "killed", progress=False)
    assert not (tmp_path / "killed" / "metrics.json").exists()
    kill_at(0)
    resumed = finetune(recipe, tmp_path / "killed", progress=False)
    assert same(resumed, whole)
    ours, theirs = metrics(resumed), metrics(whole)
    assert ours["test"] == theirs["test"]
    assert ours["train"]["dev_history"] == theirs["train"]["dev_history"]
    assert (ours["train"]["resumed_step"], theirs["train"]["resumed_step"]) == (half, 0)
    assert ours["train"]["tokens"] == pytest.approx(theirs["train"]["tokens"] / 2, abs=1)


def test_a_kill_after_the_last_step_costs_no_further_step(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("intent", max_steps=4)
    whole = finetune(recipe, tmp_path / "whole", progress=False)

    def die(*arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(finetune_module, "record_checkpoint", die)
        with pytest.raises(Killed):
            finetune(recipe, tmp_path / "killed", progress=False)
    resumed = finetune(recipe, tmp_path / "killed", progress=False)
    assert same(resumed, whole)
    assert metrics(resumed)["train"]["steps"] == 4


@pytest.mark.parametrize("changes", [{}, {"strategy": "gradual"}], ids=str)
def test_patience_counts_on_after_a_kill(
    changes: dict[str, Any],
    make_recipe: MakeRecipe,
    tmp_path: Path,
    kill_at: Callable[[int], None],
) -> None:
    """Nothing is learned: the first scoring, of step 2, stays the best, and patience ends at 8."""
    recipe = make_recipe(
        "highlights", max_steps=20, evaluations=10, patience=3, learning_rate=1e-9, **changes
    )
    whole = finetune(recipe, tmp_path / "whole", progress=False)
    kill_at(7)
    with pytest.raises(Killed):
        finetune(recipe, tmp_path / "killed", progress=False)
    kill_at(0)
    resumed = finetune(recipe, tmp_path / "killed", progress=False)
    assert same(resumed, whole)
    ours, theirs = metrics(resumed)["train"], metrics(whole)["train"]
    assert (ours["steps"], ours["resumed_step"], theirs["steps"]) == (8, 6, 8)
    assert ours["dev_history"] == theirs["dev_history"]


def test_a_step_that_was_killed_while_it_was_written_is_not_read(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step, complete in ((2, True), (10, True), (12, False)):
        folder = tmp_path / "steps" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if complete:
            (folder / "trainer_state.json").touch()
    assert last_checkpoint(tmp_path) == str(tmp_path / "steps" / "checkpoint-10")


def test_steps_of_other_settings_are_not_continued(
    make_recipe: MakeRecipe, tmp_path: Path, kill_at: Callable[[int], None]
) -> None:
    kill_at(4)
    with pytest.raises(Killed):
        finetune(make_recipe("intent", max_steps=4), tmp_path / "out", progress=False)
    with pytest.raises(UsageError, match="unfinished training of another recipe"):
        finetune(make_recipe("intent", max_steps=4, seed=8), tmp_path / "out", progress=False)


# The loop


def test_the_last_step_is_scored_too(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("intent", max_steps=5, evaluations=2)
    out = finetune(recipe, tmp_path / "out", progress=False)
    history = metrics(out)["train"]["dev_history"]
    assert [entry["step"] for entry in history] == [3, 5]
    assert metrics(out)["train"]["dev_best"] == max(entry["score"] for entry in history)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    one, again, other = (
        finetune(make_recipe("intent", max_steps=2, seed=seed), tmp_path / name, progress=False)
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    )
    assert same(one, again)
    assert not same(one, other)


def test_sixteen_rows_are_learned_by_heart(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(
        "intent",
        max_steps=120,
        train_rows=16,
        evaluations=1,
        freeze_embeddings=False,
        learning_rate=2e-3,
    )
    splits = load_data(recipe)
    rows = trainable_rows(splits["train"], recipe)
    labels = class_names(recipe, splits)
    model = apply_strategy(load_model(recipe.kind, Path(recipe.base), labels), recipe)
    task = finetune_module.task_of(
        finetune_module.describe(recipe, finetune_module.resolve(recipe.base), labels),
        finetune_module.save_tokenizer(Path(recipe.base), tmp_path),
    )
    infer = TorchRunner(model, recipe.kind, task.tokenizer.pad_id)
    before = evaluate(task, rows, infer).value
    found = module.fit(
        model,
        features(task, rows),
        recipe,
        tmp_path,
        lambda model: ("accuracy", 0.0),
        task.tokenizer.pad_id,
        progress=False,
    )
    assert found.steps == 120
    assert before < 0.7
    assert evaluate(task, rows, infer).value == 1.0


def test_the_best_step_is_kept_not_the_last(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("highlights", max_steps=3, evaluations=3)
    model = load_model(recipe.kind, Path(recipe.base))
    task = finetune_module.task_of(
        finetune_module.describe(recipe, finetune_module.resolve(recipe.base), []),
        finetune_module.save_tokenizer(Path(recipe.base), tmp_path),
    )
    seen: list[torch.Tensor] = []

    def falling(model: Any) -> tuple[str, float]:
        seen.append(model.classifier.weight.detach().clone())
        return "score", 1.0 / len(seen)

    rows = load_data(recipe)["train"]
    found = module.fit(
        model,
        features(task, rows),
        recipe,
        tmp_path,
        falling,
        task.tokenizer.pad_id,
        progress=False,
    )
    assert [entry["score"] for entry in found.history] == [1.0, 0.5, 1 / 3]
    assert found.best_dev == 1.0
    assert torch.equal(model.classifier.weight, seen[0])
    assert not torch.equal(seen[0], seen[2])


def test_training_stops_when_it_gets_no_better(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("highlights", max_steps=20, evaluations=10, patience=1, learning_rate=1e-9)
    out = finetune(recipe, tmp_path / "out", progress=False)
    assert metrics(out)["train"]["steps"] == 4


@pytest.mark.parametrize("changes", [{"gradient_checkpointing": True}, {"bf16": True}], ids=str)
def test_layers_move_below_frozen_embeddings(
    changes: dict[str, bool], make_recipe: MakeRecipe, tmp_path: Path, tiny_bert: Path
) -> None:
    recipe = make_recipe(
        "highlights", max_steps=2, evaluations=1, freeze_embeddings=True, **changes
    )  # the rate of the first step is 0, and the dev set may like it best
    tuned = weights(finetune(recipe, tmp_path / "out", progress=False))
    base = {f"bert.{name}": tensor for name, tensor in weights(tiny_bert).items()}
    same_as_base = {name for name in tuned if name in base and torch.equal(tuned[name], base[name])}
    assert same_as_base == {name for name in tuned if ".embeddings." in name}


@pytest.mark.parametrize("progress", [True, False])
def test_nothing_is_printed_to_stdout(
    progress: bool, make_recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(make_recipe("intent", max_steps=2), tmp_path / "out", progress=progress)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("2/2" in printed.err) == progress


# Arguments and order


def test_a_training_in_bf16_leaves_the_next_one_its_own_precision(tmp_path: Path) -> None:
    recipe = Recipe("tags", "sequence-classification")
    for bf16, precision in ((True, "bf16"), (False, "no")):
        training_arguments(replace(recipe, bf16=bf16), tmp_path, 100, progress=False)
        assert os.environ["ACCELERATE_MIXED_PRECISION"] == precision


@pytest.mark.parametrize(
    ("changes", "every"),
    [
        ({"max_steps": 0, "epochs": 2, "evaluations": 4}, 5),  # 100 windows / 10 = 10 a time
        ({"max_steps": 0, "epochs": 2, "evaluations": 4, "accumulate": 2}, 3),
        ({"max_steps": 3, "evaluations": 2}, 2),
        ({"max_steps": 3, "evaluations": 9}, 1),
    ],
    ids=str,
)
def test_dev_is_scored_as_often_as_asked_for(
    changes: dict[str, Any], every: int, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("intent", batch_size=10, **changes)
    arguments = training_arguments(recipe, tmp_path, 100, progress=False)
    assert (arguments.eval_steps, arguments.save_steps) == (every, every)


def test_batches_are_of_similar_length_and_differ_by_epoch() -> None:
    lengths = [i % 50 for i in range(2000)]
    sampler = SimilarLengths(8, lengths, seed=1)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first == again != second
    assert sorted(first) == sorted(second) == list(range(2000))
    spreads = [
        max(lengths[j] for j in first[i : i + 8]) - min(lengths[j] for j in first[i : i + 8])
        for i in range(0, 2000, 8)
    ]
    assert sum(spreads) / len(spreads) < 5


def test_metrics_tell_losses_and_the_energy_of_the_training(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    out = finetune(make_recipe("intent", max_steps=4, evaluations=2), tmp_path / "out", False)
    train = metrics(out)["train"]
    assert [entry["step"] for entry in train["loss_history"]] == [2, 4]
    assert all(entry["loss"] > 0 for entry in train["loss_history"])
    energy = train["energy"]
    assert energy["wh"] >= 0 and energy["co2_g"] >= 0
    assert energy["of"] == "world average"
    assert energy["estimated"] is (energy["method"] != "RAPL")


def test_without_grouping_batches_are_drawn_from_all_lengths() -> None:
    lengths = [i % 50 for i in range(2000)]
    sampler = AnyLengths(8, lengths, seed=1)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    assert first == again != list(sampler)
    assert sorted(first) == list(range(2000))
    spreads = [max(lengths[j] for j in first[i : i + 8]) for i in range(0, 2000, 8)]
    assert sum(spreads) / len(spreads) > 35
