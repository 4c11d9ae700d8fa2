"""How much a score moves with the seed: mean and spread of several trainings of one recipe.

In `docs/results/seeds.json`: model -> the seeds, and per part (full, distilled, control) the test
scores of all seeds. Written by `transfer seeds`, shown in the cards.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ENOUGH = 3  # seeds, that a figure does not rest on luck
WHY_FEWER = "a training takes minutes on two cores, and intervals are over the test rows"
RESULTS = Path(__file__).parents[2] / "docs" / "results" / "seeds.json"
PARTS = ("full", "distilled", "control")


def spread(values: Sequence[float]) -> dict[str, Any]:
    """mean, and the sample's standard deviation (0 for one value)."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": deviation, "values": list(values)}


def seeds_of(seeds: Sequence[int], why_fewer: str = WHY_FEWER) -> dict[str, Any]:
    """What a record says of its seeds: which, and why they are fewer than three."""
    return {"seeds": list(seeds), "why_fewer_seeds": why_fewer if len(seeds) < ENOUGH else ""}


def why_fewer(record: Mapping[str, Any]) -> str:
    """A sentence under a table; empty where the seeds are enough."""
    why = record.get("why_fewer_seeds")
    return f" Fewer than {ENOUGH} seeds: {why}." if why else ""


def read_spreads(path: Path = RESULTS) -> dict[str, Any]:
    """Everything measured so far; nothing where the file is not there."""
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def spread_of(model: str, role: str, path: Path = RESULTS) -> dict[str, Any] | None:
    """What the card of MODEL/ROLE shows: its own spread, and for a student that of its control."""
    entry = read_spreads(path).get(model)
    if not entry or role not in entry["parts"]:
        return None
    parts = {name: entry["parts"][name] for name in (role, "control") if name in entry["parts"]}
    if role != "distilled":
        parts.pop("control", None)
    return {"seeds": entry["seeds"], "metric": entry["metric"], "parts": parts}
