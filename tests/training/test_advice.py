"""The rule of thumb says what was measured, and nothing where nothing was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training import advice
from training.advice import against
from training.finetune import finetune
from training.recipe import Recipe
from training.rows import LabelledText

OPTIONS = {"last_2": {"last_layers": 2}}
STRATEGY = {"last_2": "last_n"}


def row(way: str, per_class: float, mean: float, std: float = 0.0) -> dict[str, Any]:
    return {
        "way": way,
        "strategy": STRATEGY.get(way, way),
        "options": OPTIONS.get(way, {}),
        "rows_per_class": per_class,
        "mean": mean,
        "std": std,
        "cpu_seconds": 10.0,
    }


CURVES = [
    *(row("full", 1, 0.30), row("contrastive", 1, 0.55), row("last_2", 1, 0.35)),
    *(row("full", 100, 0.93), row("contrastive", 100, 0.92), row("last_2", 100, 0.80)),
]


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    path = tmp_path / "curves.json"
    path.write_text(json.dumps({"data": "BANK", "metric": "accuracy", "rows": CURVES}))
    return path


def recipe(strategy: str, **changes: Any) -> Recipe:
    return Recipe(name="x", kind="sequence-classification", strategy=strategy, **changes)


def rows(per_class: int) -> list[LabelledText]:
    return [LabelledText(f"{label} {i}", (label,)) for label in "abcd" for i in range(per_class)]


def test_full_tuning_with_three_examples_is_advised_against(measured: Path) -> None:
    assert against(recipe("full"), rows(3), measured) == (
        "strategy=full with 3 examples a class: on BANK, with 1 a class, it reached accuracy 0.300 "
        "in 10 s, contrastive 0.550 in 10 s. Try `strategy=contrastive pooling=mean`."
    )


def test_the_nearest_measured_number_counts(measured: Path) -> None:
    assert against(recipe("full"), rows(60), measured) == ""
    told = against(recipe("last_n"), rows(60), measured)
    assert "it reached accuracy 0.800 in 10 s, full 0.930" in told
    assert "Try `strategy=full`." in told


@pytest.mark.parametrize("per_class", [12, 500])
def test_no_rule_reaches_far_beyond_what_was_measured(per_class: int, measured: Path) -> None:
    assert against(recipe("last_n"), rows(per_class), measured) == ""


@pytest.mark.parametrize(
    "chosen",
    [
        recipe("contrastive", pooling="mean"),  # the best of all
        recipe("lora"),  # not measured
        recipe("full", multi_label=True),
        recipe("full", start="checkpoints/x"),
        Recipe(name="x", kind="question-answering", strategy="full"),
    ],
    ids=["best", "unmeasured", "several labels", "started", "reader"],
)
def test_nothing_is_said_where_nothing_speaks_against(chosen: Recipe, measured: Path) -> None:
    assert against(chosen, rows(3), measured) == ""


def test_a_gain_within_the_spread_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "curves.json"
    spread = [row("full", 1, 0.50, 0.03), row("head", 1, 0.54, 0.03)]
    path.write_text(json.dumps({"data": "BANK", "metric": "accuracy", "rows": spread}))
    assert against(recipe("full"), rows(1), path) == ""


@pytest.mark.parametrize("content", [None, "{", "[]", '{"rows": []}'])
def test_without_figures_it_is_silent(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "curves.json"
    if content is not None:
        path.write_text(content)
    assert against(recipe("full"), rows(3), path) == ""


def test_a_training_tells_before_it_starts(
    make_recipe: Callable[..., Recipe],
    measured: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(advice, "CURVES", measured)
    told: list[str] = []
    chosen = make_recipe("intent", max_steps=1, examples_per_class=2)
    finetune(chosen, tmp_path / "out", progress=False, tell=told.append)
    assert len(told) == 1 and told[0].startswith("strategy=full with 2 examples a class: on BANK")
