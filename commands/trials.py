"""Results that take many trainings and are written after each: distillation, add-class.

Finished cells are kept below `out=DIR` and not trained again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from commands import places
from commands.base import number, settings_of

Record = dict[str, Any]


def distillation(settings: Sequence[str]) -> Record:
    from training.recipe import load_recipe
    from training.studies.trials import FACTORS, Trial, run_trials

    ours = ("teacher", "recipe", "seeds", "factors", "unlabelled", "out")
    own, keys = settings_of(settings, *ours)
    recipe = load_recipe(own.get("recipe") or "intent-distilled", keys)
    trial = Trial(
        recipe,
        tuple(folders_of(own.get("teacher") or str(places.CHECKPOINTS / recipe.name))),
        number("seeds", own.get("seeds", "1")),
        tuple(own["factors"].split(",")) if own.get("factors") else FACTORS,
        own.get("unlabelled", ""),
    )
    out = Path(own.get("out") or places.CHECKPOINTS / "trials" / recipe.name)
    made, keep = _keeping("distillation", settings)
    return {**made, **run_trials(trial, out, keep, sys.stderr.isatty())}


def add_class(settings: Sequence[str]) -> Record:
    from training.recipe import load_recipe
    from training.studies.forgetting import run_ways

    own, keys = settings_of(settings, "recipe", "new", "seeds", "out")
    recipe = load_recipe(own.get("recipe") or "intent", keys)
    new, seeds = number("new", own.get("new", "10")), number("seeds", own.get("seeds", "1"))
    out = Path(own.get("out") or places.CHECKPOINTS / "add-class" / recipe.name)
    made, keep = _keeping("add-class", settings)
    found = run_ways(recipe, new, seeds, out, advance=keep, progress=sys.stderr.isatty())
    return {**made, **found}


def _keeping(name: str, settings: Sequence[str]) -> tuple[Record, Callable[[str, Record], None]]:
    """(command and environment, what writes the record so far)"""
    from export.results import write_result
    from load_tests.environment import environment

    made = {
        "command": f"transfer results {name} {shown(settings)}".strip(),
        "environment": environment(),
    }

    def keep(done: str, record: Record) -> None:
        print(f"{done}: done", file=sys.stderr)
        write_result(name, {**made, **record})

    return made, keep


def folders_of(text: str) -> list[Path]:
    """`A,B` or `[A,B]` to paths."""
    return [Path(part.strip()) for part in text.strip("[]").split(",") if part.strip()]


def shown(settings: Sequence[str]) -> str:
    """`key=value` settings without the folders of this machine: the last two parts of a path."""

    def short(text: str) -> str:
        outside = text.startswith(("/", "../"))
        return "/".join(Path(text).parts[-2:]) if outside else text

    pairs = [setting.partition("=") for setting in settings]
    return " ".join(
        f"{key}{equals}{','.join(map(short, value.split(',')))}" for key, equals, value in pairs
    )
