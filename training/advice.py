"""A rule of thumb out of measured learning curves: which strategy suits so many examples a class.

    against(recipe, rows)     # "strategy=full with 3 examples a class: ..." or ""

Reads what `transfer results curves` wrote; without it there is no rule, and nothing is said.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.recipe import Recipe
from training.recipe_checks import OF_ONE_LABEL

CURVES = Path(__file__).parent.parent / "docs" / "results" / "curves.json"
WORTH_SAYING = 0.02  # of the metric; and more than the seeds' spread
FAR = 4.0  # times as many examples as were measured, or as few: no rule reaches further


def against(recipe: Recipe, rows: Sequence[Any], path: Path | None = None) -> str:
    """What the curves say against the recipe's strategy for its training rows; empty: nothing."""
    if recipe.kind != "sequence-classification" or recipe.multi_label or recipe.start:
        return ""
    labels = {label for row in rows for label in row.labels}
    found = read_curves(path or CURVES)
    if not found or not labels:
        return ""
    examples = len(rows) / len(labels)
    measured = nearest(found["rows"], examples)
    mine = best([row for row in measured if row["strategy"] == recipe.strategy])
    winner = best([row for row in measured if row["strategy"]])
    if mine is None or winner is None or not clearly_better(winner, mine):
        return ""
    return (
        f"strategy={recipe.strategy} with {examples:.3g} examples a class: on {found['data']}, "
        f"with {winner['rows_per_class']:.3g} a class, it reached {found['metric']} {_told(mine)}, "
        f"{winner['way']} {_told(winner)}. Try `{as_keys(winner)}`."
    )


def _told(row: Mapping[str, Any]) -> str:
    return f"{row['mean']:.3f} in {row['cpu_seconds']:.0f} s"


def read_curves(path: Path) -> Mapping[str, Any] | None:
    """The record of the curves; None where nothing was measured, or it cannot be read."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("rows") else None


def nearest(rows: Sequence[Mapping[str, Any]], examples: float) -> list[Mapping[str, Any]]:
    """The rows of the measured number of examples a class whose ratio to `examples` is smallest.

    None where even that is `FAR` away.
    """
    trained = [row for row in rows if row["rows_per_class"] > 0]
    distance = min((_distance(row, examples) for row in trained), default=math.inf)
    if distance > math.log(FAR):
        return []
    return [row for row in trained if _distance(row, examples) <= distance + 0.1]


def _distance(row: Mapping[str, Any], examples: float) -> float:
    return abs(math.log(row["rows_per_class"] / examples))


def best(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return max(rows, key=lambda row: row["mean"], default=None)


def clearly_better(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """By more than two points, and by more than the standard deviations of both together."""
    gain: float = one["mean"] - other["mean"]
    return gain > max(WORTH_SAYING, one["std"] + other["std"])


def as_keys(row: Mapping[str, Any]) -> str:
    """`strategy=last_n last_layers=2`: how a recipe takes up a measured way."""
    keys = [f"strategy={row['strategy']}"]
    keys += [f"{key}={value}" for key, value in row.get("options", {}).items()]
    if row["strategy"] in OF_ONE_LABEL:
        keys.append("pooling=mean")
    return " ".join(keys)
