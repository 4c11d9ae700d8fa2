"""Table and plot of our trainings against a plain Trainer (`training.studies.throughput`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.plots.scatter import Point, scatter
from training.studies.spread import why_fewer

Record = Mapping[str, Any]


def table(record: Record) -> str:
    """One line a job and way, as Markdown."""
    lines = [
        "| job | way | seconds | we are faster | tokens/s | peak MB | accuracy | we are better |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in record["rows"]:
        gap, ours = row["ours_is_better"], row["way"] == "transfer"
        faster = "" if ours else f"{row['ours_is_faster']:.1f} times"
        better = (
            "" if ours else f"{gap['value']:+.4f} ({gap['ci_low']:+.4f} to {gap['ci_high']:+.4f})"
        )
        lines.append(
            f"| {row['job']} | {row['way']} | {row['elapsed_s']:.1f} | {faster} | "
            f"{row['tokens_per_s']:,.0f} | {row['peak_mb']:,.0f} | {row['value']:.4f} | {better} |"
        )
    lines += [
        "",
        f"`{record['recipe']}`, {record['epochs']:g} epochs, {record['rows'][0]['n']:,} test "
        f"rows, means over the seeds {', '.join(map(str, record['seeds']))}. Seconds are from the "
        "data on disk to the scored test rows, tokens are real ones of the training loop. The "
        "plain Trainer has the same base, rows, rate, batch size and epochs, in feature extraction "
        "the same head to move; padding to the full length is what run_glue.py does by default. "
        f"In fine-tuning we leave the embeddings as they are.{why_fewer(record)}",
    ]
    return "\n".join(lines)


def plot(record: Record) -> str:
    """Accuracy over seconds, as SVG."""
    points = []
    ours = {row["job"]: row["value"] for row in record["rows"] if row["way"] == "transfer"}
    for row in record["rows"]:
        gap, best = row["ours_is_better"], ours[row["job"]]
        low, high = best - gap["ci_high"], best - gap["ci_low"]
        points.append(Point(row["elapsed_s"], row["value"], low, high, row["way"], row["job"]))
    return scatter(points, f"Training {record['recipe']}", "seconds, logarithmic", "accuracy")
