"""Layers are let go from the top; what is below has not moved until then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from tests.training.test_rates import job_of
from training import fit as module
from training.layers import layer_groups
from training.recipe import Recipe
from training.strategies.job import fit_steps
from training.unfreezing import moving_groups


@pytest.mark.parametrize(
    ("step", "groups"), [(0, 1), (2, 1), (3, 2), (5, 3), (8, 4), (10, 5), (19, 5)]
)
def test_groups_open_at_equal_distances(step: int, groups: int) -> None:
    assert moving_groups(5, step, 20, 0.5) == groups


def test_with_a_ratio_of_nothing_all_open_after_the_first_step() -> None:
    assert [moving_groups(6, step, 10, 0.0) for step in (0, 1, 9)] == [1, 6, 6]


def test_a_layer_moves_when_its_time_has_come(
    make_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five groups (four layers and the head; the embeddings are frozen) over ten steps."""
    recipe = make_recipe(
        "intent", strategy="gradual", max_steps=10, unfreeze_ratio=0.8, evaluations=1
    )
    model, job = job_of(recipe, tmp_path)
    names = layer_groups(model)
    moved: list[list[int]] = []

    class Watch(TrainerCallback):
        def on_step_begin(self, *arguments: Any, **options: Any) -> None:
            self.before = {name: p.detach().clone() for name, p in model.named_parameters()}

        def on_step_end(self, *arguments: Any, **options: Any) -> None:
            now = dict(model.named_parameters())
            moved.append(
                [
                    place
                    for place, group in enumerate(names)
                    if any(not torch.equal(now[name], self.before[name]) for name in group)
                ]
            )

    plain = module.callbacks
    monkeypatch.setattr(module, "callbacks", lambda recipe: [*plain(recipe), Watch()])
    fit_steps(model, job)
    # Group 0 is the embeddings, 5 the head.
    lowest = [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert [min(places) for places in moved] == lowest
    assert all(places == list(range(places[0], 6)) for places in moved)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == set(names[0])
