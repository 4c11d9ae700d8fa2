"""The report of an evaluation for people: short tables in Markdown.

print(table(record))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN_CLASSES = 12  # of more, only the worst are listed
RATHER_BY_CHANCE = 0.05

Record = Mapping[str, Any]


def table(record: Record) -> str:
    """Headline figures first; long lists are cut, the JSON beside has all of them."""
    parts = [
        f"# {record['subject']}",
        f"{record['rows']:,} rows ({record['data']}), {record['runs']}. Intervals are 95 % "
        "bootstrap intervals.",
        _figures(record),
    ]
    if "against" in record:
        parts.append(_against(record["against"]))
    for column, found in record.get("slices", {}).items():
        parts.append(_slices(column, found))
    if record.get("classes"):
        parts.append(_classes(record["classes"]))
    confused = record.get("weak_spots", {}).get("confused")
    if confused:
        parts.append(_confused(confused))
    if record.get("calibration"):
        parts.append(_calibration(record["calibration"]))
    return "\n\n".join(parts)


def _figures(record: Record) -> str:
    lines = ["| figure | value | 95 % interval |", "|---|---:|---|"]
    metric = record["metric"]
    figures = {metric["metric"]: metric, **record["figures"]}
    for name, figure in figures.items():
        lines.append(f"| {name} | {figure['value']:.4f} | {_interval(figure)} |")
    known = {"metric", "value", "ci_low", "ci_high", "n", *figures, "rouge2", "rougeLsum"}
    for name, value in metric.items():
        if name not in known:
            lines.append(f"| {name} | {value:.4f} | |")
    return "\n".join(lines)


def _interval(figure: Record) -> str:
    return f"{figure['ci_low']:.4f} to {figure['ci_high']:.4f}" if "ci_low" in figure else ""


def _against(found: Record) -> str:
    gain = found["gain"]
    verdict = (
        "the interval holds 0: these rows do not tell the two apart"
        if gain["ci_low"] <= 0 <= gain["ci_high"]
        else "better" * (gain["value"] > 0) or "worse"
    )
    return (
        f"Against {found['subject']}: {found['metric']} {found['value']:.4f} there, difference "
        f"{gain['value']:+.4f} ({_interval(gain)}), {verdict}; the same answer in "
        f"{found['agreement']:.1%} of the rows."
    )


def _slices(column: str, found: Record) -> str:
    metric = found["metric"]
    lines = [
        f"## By `{column}`",
        "",
        f"| {column} | n | {metric} | 95 % interval | |",
        "|---|---:|---:|---|---|",
    ]
    for group in found["groups"]:
        remark = "too few rows to say" if group["too_small"] else ""
        lines.append(
            f"| {_cell(group['group'])} | {group['n']} | {group['value']:.4f} | "
            f"{_interval(group)} | {remark} |"
        )
    return "\n".join([*lines, "", _gap(found)])


def _gap(found: Record) -> str:
    gap = found.get("gap")
    if gap is None:
        return (
            f"Fewer than two groups have {found['least_rows']} rows: there is no gap to speak of."
        )
    chance = gap["by_chance"]
    verdict = (
        "so the groups are hardly served alike"
        if chance["p"] < RATHER_BY_CHANCE
        else "so these rows do not show that the groups are served differently"
    )
    return (
        f"Gap: {gap['value']:.4f} ({_interval(gap)}) from {gap['worst']} to {gap['best']}. Dealt "
        f"at random to groups of these sizes, the rows would show {chance['mean']:.4f} on average, "
        f"and a gap as wide in {chance['p']:.1%} of the deals; {verdict}."
    )


def _classes(classes: Sequence[Record]) -> str:
    ranked = sorted(classes, key=lambda row: (row["f1"], row["label"]))
    cut = len(classes) > SHOWN_CLASSES
    title = f"## The worst {SHOWN_CLASSES} of {len(classes)} classes" if cut else "## Classes"
    lines = [
        title,
        "",
        "| class | n | precision | recall | F1 | AUC |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in ranked[:SHOWN_CLASSES] if cut else classes:
        area = "" if row["auc"] is None else f"{row['auc']:.4f}"
        lines.append(
            f"| {_cell(row['label'])} | {row['n']} | {row['precision']:.4f} | "
            f"{row['recall']:.4f} | {row['f1']:.4f} | {area} |"
        )
    return "\n".join(lines)


def _confused(pairs: Sequence[Record]) -> str:
    lines = [
        "## Most often confused",
        "",
        "| truth | taken for | rows | of |",
        "|---|---|---:|---:|",
    ]
    for pair in pairs:
        names = f"{_cell(pair['truth'])} | {_cell(pair['said'])}"
        lines.append(f"| {names} | {pair['n']} | {pair['of']} |")
    return "\n".join(lines)


def _calibration(found: Sequence[Record]) -> str:
    lines = [
        "## Calibration error",
        "",
        "| scores of | n | bare | as served |",
        "|---|---:|---:|---:|",
    ]
    for row in found:
        lines.append(f"| {row['of']} | {row['n']} | {row['before']:.4f} | {row['after']:.4f} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|")
