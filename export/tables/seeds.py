"""Table and plot of scores by seed, of what `training.studies.seeds` recorded.

transfer seeds intent seeds=3 data=clinc150/data_oos_plus.json
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.plots.dots import Dot, dots
from training.studies.spread import PARTS, why_fewer

Record = Mapping[str, Any]


def table(record: Record) -> str:
    """One line for each model and part, as Markdown."""
    lines = ["| model | part | metric | mean | std | seeds |", "|---|---|---|---:|---:|---|"]
    for model, part, entry in _parts(record):
        found = entry["parts"][part]
        seeds = ", ".join(
            f"{seed}: {value:.4f}"
            for seed, value in zip(entry["seeds"], found["values"], strict=True)
        )
        lines.append(
            f"| {model} | {part} | {entry['metric']} | {found['mean']:.4f} | "
            f"{found['std']:.4f} | {seeds} |"
        )
    reasons = {f" {model}:{why}" for model, entry in record.items() if (why := why_fewer(entry))}
    lines += [
        "",
        "Test scores of trainings that differ in their seed alone: the rows are the same. std: of "
        f"the sample. control: the student without its teacher.{''.join(sorted(reasons))}",
    ]
    return "\n".join(lines)


def plot(record: Record) -> str:
    """Mean of each model and part, a standard deviation to both sides, and its best seed."""
    points = []
    for model, part, entry in _parts(record):
        found = entry["parts"][part]
        low, high = found["mean"] - found["std"], found["mean"] + found["std"]
        points.append(Dot(f"{model}, {part}", found["mean"], low, high, max(found["values"])))
    return dots(points, "Seeds", "test score", ("mean and standard deviation", "best seed"))


def _parts(record: Record) -> list[tuple[str, str, Record]]:
    """(model, part, entry) of all that were trained."""
    return [
        (model, part, entry)
        for model, entry in sorted(record.items())
        for part in PARTS
        if part in entry["parts"]
    ]
