"""Remedies for imbalanced labels as a table and a plot; measured by `training.studies.remedies`.

transfer results imbalance data=clinc150/data_imbalanced.json
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.plots.dots import Dot, dots
from training.studies.spread import why_fewer

Record = Mapping[str, Any]
COLUMNS = ("recall_of_rare", "recall_of_others", "macro_f1")


def table(record: Record) -> str:
    """One line for each remedy, as Markdown."""
    lines = [
        f"| remedy | {record['metric']} | std | macro-F1 | recall of rare labels | of the others |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        lines.append(
            f"| {row['way']} | {row['mean']:.4f} | {row['std']:.4f} | {row['macro_f1']:.4f} | "
            f"{row['recall_of_rare']:.4f} | {row['recall_of_others']:.4f} |"
        )
    lines += ["", f"{_conditions(record)} {verdict(record)}{why_fewer(record)}"]
    return "\n".join(lines)


def _conditions(record: Record) -> str:
    return (
        f"{record['n']:,} test rows of {record['data']}, as many of each label; strategy "
        f"{record['strategy']}, {len(record['seeds'])} seeds, the same rows. Rare: the "
        f"{record['rare']} of {record['labels']} labels with {_range(record['rows_of_rare'])} "
        f"training rows; the others have {_range(record['rows_of_others'])}. Recall is the mean "
        "over labels."
    )


def _range(counts: list[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def verdict(record: Record) -> str:
    """Which remedy helps rare labels most, what it costs the others, and whether that is luck."""
    none = next(row for row in record["rows"] if row["way"] == "none")
    best = max(record["rows"], key=lambda row: row["recall_of_rare"])
    if best is none:
        return "No remedy helps the rare labels here."
    rare = 100 * (best["recall_of_rare"] - none["recall_of_rare"])
    others = 100 * (best["recall_of_others"] - none["recall_of_others"])
    gain = best["mean"] - none["mean"]
    luck = abs(gain) <= best["std"] + none["std"]
    told = "which is within what seeds differ by" if luck else "more than what seeds differ by"
    return (
        f"{best['way'].capitalize()} helps the rare labels most: {rare:+.1f} points for them, "
        f"{others:+.1f} for the others; {record['metric']} {100 * gain:+.1f}, {told}."
    )


def plot(record: Record) -> str:
    """Recall of rare labels and of the others, for each remedy."""
    found = [
        Dot(row["way"], row["recall_of_rare"], other=row["recall_of_others"])
        for row in record["rows"]
    ]
    heading = f"Imbalanced labels of {record['data']}"
    return dots(found, heading, "recall, mean over labels", ("rare labels", "the others"))
