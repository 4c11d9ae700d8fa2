"""Table and plot of what each way of training cheaper saves (`training.studies.efficiency`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.plots.scatter import Point, scatter
from training.studies.spread import why_fewer

Record = Mapping[str, Any]


def table(record: Record) -> str:
    """One line a way, as Markdown."""
    plain = record["rows"][0]
    lines = [
        "| way | seconds | of plain | tokens/s | peak MB | Wh | accuracy | against plain |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in record["rows"]:
        share, gap = row["elapsed_s"] / plain["elapsed_s"], row["against_plain"]
        energy = "" if row["wh"] is None else f"{row['wh']:.2f}"
        lines.append(
            f"| {row['way']} | {row['elapsed_s']:.1f} | {share:.0%} | {row['tokens_per_s']:,.0f} "
            f"| {row['peak_mb']:,.0f} | {energy} | {row['value']:.4f} | {gap['value']:+.4f} "
            f"({gap['ci_low']:+.4f} to {gap['ci_high']:+.4f}) |"
        )
    estimated = "estimated" if any(row["wh_estimated"] for row in record["rows"]) else "measured"
    lines += [
        "",
        f"`{record['recipe']}`, {plain['n']:,} test rows, means over the seeds "
        f"{', '.join(map(str, record['seeds']))}. Seconds and energy ({estimated}) are from the "
        "data on disk to the scored test rows, tokens a second those of the training loop, "
        "memory the peak of the run's process, of which "
        f"{plain['before_mb']:,.0f} MB were there before it began. Differences are paired by "
        "test row. `cached features` trains the head alone; `distillation` trains a smaller "
        "model, twice with the same teacher: the second time reads what that said the first time."
        f"{why_fewer(record)}",
    ]
    return "\n".join(lines)


def plot(record: Record) -> str:
    """Accuracy over seconds, as SVG."""
    points = []
    for row in record["rows"]:
        gap, base = row["against_plain"], row["value"] - row["against_plain"]["value"]
        low, high = base + gap["ci_low"], base + gap["ci_high"]
        points.append(Point(row["elapsed_s"], row["value"], low, high, row["way"], row["way"]))
    title = f"Training {record['recipe']} cheaper"
    return scatter(points, title, "seconds, logarithmic", "accuracy")
