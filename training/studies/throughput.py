"""Our trainings against a plain `transformers.Trainer`, on the same machine, in one run.

    transfer results throughput data=clinc150/data_oos_plus.json
    transfer results throughput recipe=banking data=banking77 epochs=5 seeds=3

Two jobs, fine-tuning and feature extraction (only the head learns), each with the same base, rows,
rate, batch size and epochs. The plain Trainer runs as run_glue.py does by default, padding every
text to the full length, and once more padding to the longest of each batch. Runs of one seed follow
each other directly, so that a busy machine is busy for all of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from training.recipe import Recipe
from training.studies.efficiency import paired_difference, run_once, seeded
from training.studies.measured_run import Record, Run
from training.studies.spread import seeds_of

OURS = "transfer"
WAYS: dict[str, dict[str, bool] | None] = {
    OURS: None,
    "Trainer, padded to the full length": {"pad": True},
    "Trainer, padded to the longest": {"pad": False},
}
JOBS = ("fine-tuning", "feature extraction")


def recipe_of(job: str, recipe: Recipe) -> Recipe:
    """What we train: the recipe, but for what a plain Trainer does not have."""
    return replace(
        recipe,
        strategy="full" if job == "fine-tuning" else "head",
        head_learning_rate=Recipe.head_learning_rate,
        pooling=Recipe.pooling,
        dropout=Recipe.dropout,
        evaluations=1,
        out_of_scope_weight=0.0,
        patience=0,
    )


def measure_throughput(
    recipe: Recipe,
    seeds: Sequence[int],
    out: Path,
    tell: Callable[[str], None] = lambda text: None,
) -> Record:
    """The record of `docs/results/throughput.json`, but for where it was measured."""
    rows: list[Record] = []
    for job in JOBS:
        found: dict[str, list[Record]] = {way: [] for way in WAYS}
        for seed in seeds:
            one = seeded(recipe_of(job, recipe), seed)
            for way, options in WAYS.items():
                run = _job(one, job, options)
                found[way].append(run_once(f"{job} {way}", run, seed, out))
                last = found[way][-1]
                tell(f"{job}, {way}, seed {seed}: {last['elapsed_s']:.0f} s, {last['value']:.4f}")
        ours = found[OURS]
        rows += [{"job": job, "way": way, **_row(runs, ours)} for way, runs in found.items()]
    return {
        "recipe": recipe.name,
        "epochs": recipe.epochs,
        **seeds_of(seeds),
        "rows": rows,
    }


def _job(recipe: Recipe, job: str, options: dict[str, bool] | None) -> Run:
    if options is None:
        return Run("transfer", asdict(recipe))
    return Run("plain", asdict(recipe), {**options, "frozen": job != "fine-tuning"})


def _row(runs: Sequence[Record], ours: Sequence[Record]) -> Record:
    """`ours_is_faster`: how many times as long as ours it takes; better: accuracy, paired by row"""
    means: dict[str, Any] = {
        key: statistics.fmean(run[key] for run in runs)
        for key in ("elapsed_s", "train_s", "tokens_per_s", "peak_mb", "value")
    }
    mine, theirs = ([run["right"] for run in some] for some in (ours, runs))
    return {
        **means,
        "elapsed": [run["elapsed_s"] for run in runs],
        "values": [run["value"] for run in runs],
        "n": runs[0]["n"],
        "ours_is_faster": means["elapsed_s"] / statistics.fmean(run["elapsed_s"] for run in ours),
        "ours_is_better": paired_difference(mine, theirs),
    }
