"""What each way of training cheaper saves: one setting at a time, each run in its own process.

    transfer results efficiency data=clinc150/data_oos_plus.json
    transfer results efficiency recipe=banking data=banking77 seeds=3

`plain` has none of them: fp32, batches in random order, every parameter moves. Finished runs are
kept in OUT and not run again. The quality of each stands beside it, with the paired interval of its
difference from `plain` on the same test rows.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.evaluate import Evaluation, paired_loss
from training.recipe import Recipe
from training.studies.measured_run import CHECKPOINT_NAME, Record, Run, run_apart
from training.studies.spread import seeds_of

PLAIN = "plain"
PLAIN_KEYS: dict[str, Any] = {
    "bf16": False,
    "group_by_length": False,
    "freeze_embeddings": False,
    "gradient_checkpointing": False,
    "accumulate": 1,
    "strategy": "full",
    "evaluations": 1,
    "out_of_scope_weight": 0.0,
}
TEACHER, TAUGHT, TAUGHT_AGAIN = "teacher", "distillation", "distillation, teacher cached"
PARTS = 4  # a batch is accumulated from so many


def ways(recipe: Recipe) -> dict[str, Recipe]:
    """Way -> recipe; the first is plain."""
    plain = replace(recipe, **PLAIN_KEYS)
    part = max(1, recipe.batch_size // PARTS)
    changes: dict[str, dict[str, Any]] = {
        PLAIN: {},
        "bf16": {"bf16": True},
        "length grouping": {"group_by_length": True},
        "accumulation": {"batch_size": part, "accumulate": recipe.batch_size // part},
        "checkpointing": {"gradient_checkpointing": True},
        "frozen embeddings": {"freeze_embeddings": True},
        "grouping and freezing": {"group_by_length": True, "freeze_embeddings": True},
        "cached features": {"strategy": "head", "group_by_length": True},
    }
    return {name: replace(plain, **keys) for name, keys in changes.items()}


def measure_efficiency(
    recipe: Recipe,
    student: Recipe | None,
    seeds: Sequence[int],
    out: Path,
    tell: Callable[[str], None] = lambda text: None,
) -> Record:
    """The record of `docs/results/efficiency.json`, but for where it was measured.

    student: a recipe that distills from `recipe`, for what a teacher's cached outputs save
    """
    found: dict[str, list[Record]] = {}
    for name, one in ways(recipe).items():
        for seed in seeds:
            run = Run("transfer", asdict(seeded(one, seed)))
            found.setdefault(name, []).append(run_once(name, run, seed, out))
            tell(told(name, seed, found[name][-1]))
    if student is not None:
        found |= _distilled(recipe, student, seeds, out, tell)
    plain = [run["right"] for run in found[PLAIN]]
    rows = [
        {
            "way": name,
            **_row(runs),
            "against_plain": paired_difference([run["right"] for run in runs], plain),
        }
        for name, runs in found.items()
    ]
    return {"recipe": recipe.name, **seeds_of(seeds), "rows": rows}


def told(name: str, seed: int, found: Record) -> str:
    return f"{name}, seed {seed}: {found['elapsed_s']:.0f} s, accuracy {found['value']:.4f}"


def seeded(recipe: Recipe, seed: int) -> Recipe:
    return replace(recipe, seed=seed, data_seed=recipe.rows_seed)


def run_once(name: str, run: Run, seed: int, out: Path, keep: bool = False) -> Record:
    """The record of a run; its weights are removed unless they are to be kept."""
    folder = folder_of(name, seed, out)
    found = run_apart(run, folder)
    if not keep:
        shutil.rmtree(folder / CHECKPOINT_NAME, ignore_errors=True)
    return found


def folder_of(name: str, seed: int, out: Path) -> Path:
    return out / f"{name.replace(',', '').replace(' ', '-')}-{seed}"


def _distilled(
    recipe: Recipe, student: Recipe, seeds: Sequence[int], out: Path, tell: Callable[[str], None]
) -> dict[str, list[Record]]:
    """The same student twice: the teacher runs, and then its outputs are there already."""
    found: dict[str, list[Record]] = {TAUGHT: [], TAUGHT_AGAIN: []}
    for seed in seeds:
        one = seeded(ways(recipe)["grouping and freezing"], seed)
        run_once(TEACHER, Run("transfer", asdict(one)), seed, out, keep=True)
        teacher = (folder_of(TEACHER, seed, out) / CHECKPOINT_NAME).resolve()
        small = seeded(replace(student, evaluations=1, out_of_scope_weight=0.0), seed)
        run = Run("distill", asdict(small), {"teacher": str(teacher)})
        first, again = (folder_of(name, seed, out) for name in found)
        found[TAUGHT].append(run_apart(run, first))
        said = first / CHECKPOINT_NAME / "teacher"
        found[TAUGHT_AGAIN].append(run_apart(run, again, said))
        for name, runs in found.items():
            tell(told(name, seed, runs[-1]))
    return found


def _row(runs: Sequence[Record]) -> Record:
    """Means over the seeds, and what each of them gave."""
    energies = [run["energy"]["wh"] for run in runs if run["energy"]]
    return {
        **{
            key: statistics.fmean(run[key] for run in runs)
            for key in (
                *("elapsed_s", "train_s", "tokens_per_s"),
                *("peak_mb", "before_mb", "steps", "value"),
            )
        },
        "elapsed": [run["elapsed_s"] for run in runs],
        "values": [run["value"] for run in runs],
        "wh": statistics.fmean(energies) if energies else None,
        "wh_estimated": any(run["energy"]["estimated"] for run in runs if run["energy"]),
        "n": runs[0]["n"],
    }


def paired_difference(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> Record:
    """Mean accuracy above the other's, with the paired bootstrap interval over the test rows."""
    one, other = (_mean_right(right) for right in (ours, theirs))
    value, low, high = paired_loss(one, other)
    return {"value": value, "ci_low": low, "ci_high": high}


def _mean_right(right: Sequence[Sequence[int]]) -> Evaluation:
    """(rows,) how often each row was right over the seeds"""
    share = np.mean(np.array(right, float), axis=0)
    return Evaluation("accuracy", len(share), lambda rows: float(share[rows].mean()), [])
