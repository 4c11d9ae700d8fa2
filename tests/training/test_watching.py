"""Trackers and callbacks of a run: nothing by default, TensorBoard by name, faults in words."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from services.errors import UsageError
from training.finetune import finetune
from training.recipe import Recipe
from training.watching import watch, watching

MakeRecipe = Callable[..., Recipe]


def test_nobody_watches_unless_asked_to() -> None:
    assert watch().report_to == ()
    with watching(callbacks=["mine"], country="DEU"):
        assert (watch().callbacks, watch().country) == (("mine",), "DEU")
    assert watch().callbacks == ()


def test_an_unknown_tracker_is_named() -> None:
    with (
        pytest.raises(UsageError, match="report_to is 'paper'; expected one of tensorboard"),
        watching(report_to=["paper"]),
    ):
        pass


@pytest.mark.skipif(find_spec("mlflow") is not None, reason="mlflow is installed")
def test_a_tracker_that_is_not_installed_says_how_to_get_it() -> None:
    with pytest.raises(UsageError, match="needs the package mlflow") as caught:
        watching(report_to=["mlflow"]).__enter__()
    assert "pip install mlflow" in caught.value.hint


def test_callbacks_see_every_step(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    seen: list[int] = []

    class Counter(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
            seen.append(state.global_step)

    with watching(callbacks=[Counter()]):
        finetune(make_recipe("intent", max_steps=2), tmp_path / "out", progress=False)
    assert seen == [1, 2]
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
@pytest.mark.parametrize("job", ["intent", "dialogue"])
def test_tensorboard_gets_losses_and_scores(
    job: str, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    base = "bart" if job == "dialogue" else "bert"
    recipe = make_recipe(job, base, max_steps=4, evaluations=2)
    with watching(report_to=["tensorboard"]):
        out = finetune(recipe, tmp_path / "out", progress=False)
    events = EventAccumulator(str(out / "runs"))
    events.Reload()
    assert {"train/loss", "eval/score", "train/learning_rate"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("eval/score")] == [2, 4]
