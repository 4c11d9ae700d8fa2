"""Which rows judge a model: some choose how it is decoded, others are reported and choose nothing.

    held = held_out(recipe, {"news": Path("bbc.jsonl")})
    held.decoding, held.test, held.also

All of them are rows that no training step was taken on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from services.errors import UsageError
from training.baselines import baselines
from training.data import every_row, load_data, rows_for
from training.recipe import Recipe, load_recipe
from training.rows import Question, Splits
from training.splits import hold_out


@dataclass(frozen=True)
class Exam:
    """Rows to report on.

    data: what they are, for people; out_of_scope, summary_sentences: as in the recipe
    baselines: record by name of what needs no training, on the same rows
    """

    data: str
    rows: list[Any]
    out_of_scope: str = ""
    summary_sentences: int = 3
    baselines: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HeldOut:
    """decoding: rows that choose temperatures and thresholds; also: exams besides the test split"""

    decoding: list[Any]
    test: Exam
    also: dict[str, Exam] = field(default_factory=dict)


def held_out(recipe: Recipe, also: Mapping[str, Path] | None = None) -> HeldOut:
    """The rows of the recipe's data, and of other data of the same kind.

    also: recipe of an evaluation set (a preset or a file) -> where its data lies
    """
    splits = load_data(recipe)
    exams = {
        Path(name).stem: exam(_same_kind(load_recipe(name, [f"data={path}"]), recipe))
        for name, path in (also or {}).items()
    }
    if recipe.calibration_data:
        kept = calibration_halves(recipe)[1]
        data = f"{Path(recipe.calibration_data).name}, the half of its articles that chose nothing"
        exams["kept"] = Exam(data, kept)
    return HeldOut(decoding_rows(splits, recipe), exam(recipe, splits), exams)


def held_out_for(model: str, data: Mapping[str, Any], folder: Path) -> HeldOut:
    """The rows that judge a model that ships, by the preset of its name.

    data: paths inside of `folder`: `data`, `calibration_data`, and by recipe `extra_data`, `also`
    """
    also = {name: folder / path for name, path in data.get("also", {}).items()}
    paths = [f"{key}={_inside(folder, path)}" for key, path in data.items() if key != "also"]
    return held_out(load_recipe(model, paths), also)


def _inside(folder: Path, path: str | Mapping[str, str]) -> str:
    """A path, or paths by name, as the value of a recipe key."""
    if isinstance(path, str):
        return str(folder / path)
    return json.dumps({name: str(folder / one) for name, one in path.items()})


def exam(recipe: Recipe, splits: Splits | None = None) -> Exam:
    """The test split of a recipe's data, with its baselines."""
    rows = (load_data(recipe) if splits is None else splits)["test"]
    return Exam(
        recipe.data_attribution or "test split",
        rows,
        recipe.out_of_scope,
        recipe.summary_sentences,
        baselines(recipe, rows).get("baselines", {}),
    )


def all_rows(recipe: Recipe) -> Exam:
    """Every row of the recipe's data, whatever its split: for data that was not trained on."""
    rows = every_row(recipe)
    found = baselines(recipe, rows).get("baselines", {})
    data = f"all rows of {Path(recipe.data).name}"
    return Exam(data, rows, recipe.out_of_scope, recipe.summary_sentences, found)


def decoding_rows(splits: Splits, recipe: Recipe) -> list[Any]:
    """The rows that choose how what was trained is decoded: dev, unless the recipe names others."""
    if recipe.calibration_data:
        return calibration_halves(recipe)[0]
    return dev_rows(splits, recipe)


def dev_rows(splits: Splits, recipe: Recipe) -> list[Any]:
    """Dev rows, and the training rows outside of every class where no step is taken on them."""
    if not recipe.out_of_scope or recipe.out_of_scope_weight:
        return splits["dev"]
    outside = [row for row in splits["train"] if row.labels[0] == recipe.out_of_scope]
    return [*splits["dev"], *outside]


def calibration_halves(recipe: Recipe) -> tuple[list[Question], list[Question]]:
    """(that choose, that are kept) questions of `calibration_data`, by whole articles.

    The halves are the same for every recipe and seed.
    """
    rows = rows_for(recipe.kind, Path(recipe.calibration_data))
    kept, choosing = hold_out(rows, 0.5, 0, "calibration")
    if all(row.answers for row in choosing) or not any(row.answers for row in choosing):
        raise UsageError(
            f"{recipe.calibration_data} has questions of one sort alone; expected some with and "
            "some without an answer.",
            "SQuAD v2.0's format has both: `is_impossible` marks those without.",
        )
    return choosing, kept


def _same_kind(recipe: Recipe, judged: Recipe) -> Recipe:
    if recipe.kind != judged.kind:
        raise UsageError(
            f"{recipe.name} has rows for {recipe.kind}; {judged.name} is for {judged.kind}.",
            "Name an evaluation set of the same kind.",
        )
    return replace(recipe, out_of_scope=judged.out_of_scope)
