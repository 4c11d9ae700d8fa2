"""Table and plot of the ways to add classes, of what `training.studies.forgetting` recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.plots.dots import Dot, dots
from training.studies.spread import why_fewer

Entry = Mapping[str, Any]


def table(record: Entry) -> str:
    """One line for each way, as Markdown."""
    lines = [
        "| way | old rows read again | steps | old classes before | after | lost "
        "| new classes | all classes | all, dev |",
        "|---|---:|---:|---:|---:|---|---:|---:|---:|",
        *(_line(row) for row in record["rows"]),
    ]
    n, seeds = record["rows"][0]["n"], record["seeds"]
    named = ", ".join(map(str, seeds))
    several = len(seeds) > 1
    lines += [
        "",
        f"`{record['model']}`, {record['data']}: {record['new_classes']} classes with "
        f"{record['rows'][0]['new_rows']:,} rows added to {record['old_classes']}; accuracy on "
        f"{n['old_after']:,} test rows of old and {n['new']:,} of new classes, "
        f"{'means of the seeds' if several else 'seed'} {named}. lost: paired, with a 95 % "
        f"bootstrap interval{' (mean of the seeds)' if several else ''}. replay N: N training rows "
        "of each old class; distill: the old model's outputs on every text that is read. "
        f"{verdict(record)}{why_fewer(record)}",
    ]
    return "\n".join(lines)


def _line(row: Entry) -> str:
    loss = row["old_loss"]
    return (
        f"| {row['way']} | {row['replayed_rows']:,} | {row['steps']:,} | "
        f"{row['old_before']['mean']:.4f} | {row['old_after']['mean']:.4f} | "
        f"{loss['value']:+.4f} ({loss['ci_low']:+.4f} to {loss['ci_high']:+.4f}) | "
        f"{row['new']['mean']:.4f} | {row['all']['mean']:.4f} | {row['dev']['all']:.4f} |"
    )


def verdict(record: Entry) -> str:
    """What the dev rows of all classes choose among the ways that do not need every old row."""
    rows = record["rows"]
    limited = [row for row in rows if row["replayed_rows"] < _most(rows)] or rows
    best = max(limited, key=lambda row: row["dev"]["all"])
    control = rows[0]
    return (
        f"By all dev rows the best without every old row is {best['way']}: on test the old classes "
        f"lose {100 * best['old_loss']['value']:.1f} points and the new ones reach "
        f"{best['new']['mean']:.1%}; with {control['way']} the old ones lose "
        f"{100 * control['old_loss']['value']:.1f}."
    )


def _most(rows: list[Entry]) -> int:
    return max(row["replayed_rows"] for row in rows)


def plot(record: Entry) -> str:
    """Old classes after each way, with the first seed's interval, and the new ones beside them."""
    points = [
        Dot(
            row["way"],
            row["old_after"]["mean"],
            *row["intervals"][0]["old_after"],
            row["new"]["mean"],
        )
        for row in record["rows"]
    ]
    title = f"{record['new_classes']} classes added to {record['old_classes']}"
    return dots(points, title, "test accuracy", ("old classes, after", "new classes"))
