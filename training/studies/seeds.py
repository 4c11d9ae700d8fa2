"""One recipe with several seeds, one after the other: how much of a score is luck.

    transfer seeds intent seeds=3 data=clinc150/data_oos_plus.json

Trains `intent` and, where there is a recipe `intent-distilled`, its student and the student without
its teacher, for each seed into `checkpoints/seeds/intent/SEED/{full,distilled}`. What is finished
there is not trained again, what other settings made is refused, and what was stopped goes on. The
rows are drawn by one seed for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from training.checkpoint import write_json
from training.distill import distill
from training.finetune import finetune
from training.recipe import RECIPES, Recipe, load_recipe
from training.studies.finished import trained
from training.studies.spread import PARTS, RESULTS, read_spreads, seeds_of, spread


def run_seeds(
    name: str,
    overrides: Sequence[str],
    count: int,
    out: Path,
    results: Path = RESULTS,
    progress: bool = True,
    made: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train all seeds below `out` and write the model's entry of `results`; returns it.

    name: a preset or a file; overrides: recipe keys, for the student's recipe too; made: how and
    where, for the entry
    Raises UsageError for a finished training of other settings.
    """
    recipe = load_recipe(name, overrides)
    student = student_recipe(name, overrides)
    seeds = [recipe.seed + i for i in range(count)]
    scores: dict[str, list[float]] = {part: [] for part in PARTS}
    metric = ""
    for seed in seeds:
        mine = _seeded(recipe, seed)
        full = trained(out / str(seed) / "full", mine, partial(finetune, mine, progress=progress))
        metric = full["test"]["metric"]
        scores["full"].append(full["test"]["value"])
        if student is not None:
            small, teacher = _seeded(student, seed), out / str(seed) / "full"
            teach = partial(distill, small, teacher, progress=progress)
            taught = trained(out / str(seed) / "distilled", small, teach)
            scores["distilled"].append(taught["test"]["value"])
            scores["control"].append(taught["distillation"]["without_teacher"]["value"])
    entry = {
        **(made or {}),
        "metric": metric,
        **seeds_of(seeds),
        "data_seed": _seeded(recipe, seeds[0]).rows_seed,
        "parts": {part: spread(values) for part, values in scores.items() if values},
    }
    results.parent.mkdir(parents=True, exist_ok=True)
    write_json(results, {**read_spreads(results), recipe.name: entry})
    return entry


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    """With another seed for the training and the old one for the rows."""
    return replace(recipe, seed=seed, data_seed=recipe.rows_seed)


def student_recipe(name: str, overrides: Sequence[str]) -> Recipe | None:
    """The recipe NAME-distilled beside the preset or the file; None where there is none."""
    path = Path(name)
    folder = path.parent if path.is_file() else RECIPES
    found = folder / f"{path.stem}-distilled.yaml"
    # A student starts from its teacher, wherever that started.
    keys = [override for override in overrides if not override.startswith("start=")]
    return load_recipe(found, keys) if found.is_file() else None
