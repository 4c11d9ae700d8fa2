"""Results that take many trainings: learning curves, remedies for imbalanced labels, growing.

Finished trainings are kept below `out=DIR` and not run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import places
from commands.base import number, settings_of, tell
from commands.trials import shown


def curves(settings: Sequence[str]) -> dict[str, Any]:
    from training.recipe import load_recipe
    from training.studies.curves import chosen_sizes, chosen_ways, measure_curves

    own, keys = settings_of(settings, "recipe", "ways", "sizes", "seeds", "out")
    recipe = load_recipe(own.get("recipe", "banking"), keys)
    work = Path(own.get("out") or places.CHECKPOINTS / "curves" / recipe.name)
    ways, sizes = chosen_ways(own.get("ways", "")), chosen_sizes(own.get("sizes", ""))
    return measure_curves(recipe, work, ways, sizes, number("seeds", own.get("seeds", "0")), tell)


def imbalance(settings: Sequence[str]) -> dict[str, Any]:
    from training.recipe import load_recipe
    from training.studies.remedies import measure_remedies

    own, keys = settings_of(settings, "recipe", "seeds", "out")
    recipe = load_recipe(own.get("recipe", "intent-imbalanced"), keys)
    work = Path(own.get("out") or places.CHECKPOINTS / "imbalance" / recipe.name)
    return measure_remedies(recipe, work, number("seeds", own.get("seeds", "3")), tell)


def growing(settings: Sequence[str]) -> dict[str, Any]:
    from training.studies.growing import measure_growing

    own, keys = settings_of(settings, "recipe", "out")
    name = own.get("recipe", "dialogsum")
    out = Path(own.get("out") or places.CHECKPOINTS / "growing" / Path(name).stem)
    return measure_growing(name, keys, out, tell)


def command_of(name: str, settings: Sequence[str]) -> str:
    """The command of a record, without the folders of this machine."""
    return f"transfer results {name} {shown(settings)}".strip()
