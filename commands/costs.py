"""What training costs, measured: `transfer results efficiency` and `throughput`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import places
from commands.base import number, settings_of
from commands.trials import shown


def efficiency(settings: Sequence[str]) -> dict[str, Any]:
    from training.recipe import load_recipe
    from training.studies.efficiency import measure_efficiency
    from training.studies.seeds import student_recipe

    own, keys = settings_of(settings, "recipe", "seeds", "out", "student")
    name = own.get("recipe", "intent")
    recipe = load_recipe(name, keys)
    student = None if own.get("student") == "none" else student_recipe(name, keys)
    out = Path(own.get("out") or places.CHECKPOINTS / "efficiency" / recipe.name)
    found = measure_efficiency(recipe, student, _seeds(recipe, own), out, _say)
    return {"command": f"transfer results efficiency {shown(settings)}".strip(), **found}


def throughput(settings: Sequence[str]) -> dict[str, Any]:
    from training.recipe import load_recipe
    from training.studies.throughput import measure_throughput

    own, keys = settings_of(settings, "recipe", "seeds", "out")
    recipe = load_recipe(own.get("recipe", "intent"), ["epochs=5", *keys])
    out = Path(own.get("out") or places.CHECKPOINTS / "throughput" / recipe.name)
    found = measure_throughput(recipe, _seeds(recipe, own), out, _say)
    return {"command": f"transfer results throughput {shown(settings)}".strip(), **found}


def _seeds(recipe: Any, own: dict[str, str]) -> list[int]:
    return [recipe.seed + i for i in range(number("seeds", own.get("seeds", "3")))]


def _say(text: str) -> None:
    print(text, file=sys.stderr)
