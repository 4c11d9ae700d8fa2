"""Table and plot of distillation trials, from the record that `training.studies.trials` makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.plots.dots import Dot, dots
from training.studies.spread import why_fewer

Entry = Mapping[str, Any]


def table(record: Entry) -> str:
    """By factor, in the order of the trials, as Markdown; the recipe itself comes first."""
    metric = record["metric"]
    lines = [
        f"| factor | value | steps | dev {metric} | against the recipe on dev | "
        f"without teacher, dev | test {metric} (chose nothing) | gain over no teacher, test |",
        "|---|---|---:|---:|---|---:|---:|---|",
        *(_line(row) for row in record["rows"]),
    ]
    n, teacher = record["n"], record["teacher"]
    seeds = record["seeds"]
    own = ", ".join(f"{factor} {value}" for factor, value in record["recipe"].items())
    lines += [
        "",
        f"`{record['model']}`, {record['data']}; {n['dev']:,} dev and {n['test']:,} test rows, "
        f"{'seed' if len(seeds) == 1 else 'means of the seeds'} {', '.join(map(str, seeds))}. "
        f"The recipe: {own}. Its teacher: dev {teacher['dev']:.4f}, test {teacher['test']:.4f}. "
        "Differences are paired by rows, with 95 % bootstrap intervals; the student without its "
        f"teacher has the same layers of the base and as many steps. {verdict(record)}"
        f"{why_fewer(record)}",
    ]
    return "\n".join(lines)


def _line(row: Entry) -> str:
    plain = row["without_teacher"]["dev"]["mean"]
    against = "" if row["factor"] == "recipe" else _difference(row["dev_against_recipe"])
    return (
        f"| {row['factor']} | {row['value']} | {row['steps']:,} | {row['dev']['mean']:.4f} | "
        f"{against} | {plain:.4f} | {row['test']['mean']:.4f} | "
        f"{_difference(row['test_gain'])} |"
    )


def _difference(found: Entry) -> str:
    shown = f"{found['value']:+.4f}"
    if found["ci_low"] is None:
        return shown
    return f"{shown} ({found['ci_low']:+.4f} to {found['ci_high']:+.4f})"


def verdict(record: Entry) -> str:
    """What dev says, and whether it can be told from luck."""
    rows = record["rows"]
    tried = [row for row in rows if row["factor"] != "recipe"]
    won = [row for row in rows if _above_zero(row["test_gain"])]
    taught = f"With its teacher {len(won)} of {len(rows)} students beat their controls on test."
    if not tried:
        return taught
    best = max(tried, key=lambda row: row["dev"]["mean"])
    name, gain = f"{best['factor']} {best['value']}", best["dev_against_recipe"]
    if gain["value"] <= 0:
        return f"On dev nothing is better than the recipe. {taught}"
    sure = (
        "more than luck between rows explains, though it is the best of "
        if _above_zero(gain)
        else "which may be luck: zero lies in the interval of the best of "
    )
    return f"On dev {name} is the best, by {gain['value']:+.4f}: {sure}{len(tried)}. {taught}"


def _above_zero(found: Entry) -> bool:
    return found["ci_low"] is not None and found["ci_low"] > 0


def plot(record: Entry) -> str:
    """Dev scores with intervals, and beside each the same student without its teacher."""
    points = [
        Dot(
            f"{row['factor']} {row['value']}",
            row["dev"]["mean"],
            row["dev"]["ci_low"],
            row["dev"]["ci_high"],
            row["without_teacher"]["dev"]["mean"],
        )
        for row in record["rows"]
    ]
    title = f"Distillation of {record['model']}: one factor at a time"
    return dots(points, title, f"dev {record['metric']}", ("student", "without its teacher"))
