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

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "seeds.json"
PARTS = ("full", "distilled", "control")


def spread(values: Sequence[float]) -> dict[str, Any]:
    """mean, and the sample's standard deviation (0 for one value)."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": deviation, "values": list(values)}


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


def table(spreads: Mapping[str, Any]) -> str:
    """One line for each model and part, as Markdown."""
    lines = ["| model | part | metric | mean | std | seeds |", "|---|---|---|---:|---:|---|"]
    for model, entry in sorted(spreads.items()):
        for part in PARTS:
            if found := entry["parts"].get(part):
                seeds = ", ".join(
                    f"{seed}: {value:.4f}"
                    for seed, value in zip(entry["seeds"], found["values"], strict=True)
                )
                lines.append(
                    f"| {model} | {part} | {entry['metric']} | {found['mean']:.4f} | "
                    f"{found['std']:.4f} | {seeds} |"
                )
    lines += [
        "",
        "Test scores of trainings that differ in their seed alone: the rows are the same. std: of "
        "the sample. control: the student without its teacher.",
    ]
    return "\n".join(lines)
