"""Learning curves as a table, a plot and sentences; measured by `training.studies.curves`.

transfer results curves data=banking77
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from export.plots.scatter import Point, scatter

Record = Mapping[str, Any]
CONTROL = "scratch"
ALL = 0


def table(record: Record) -> str:
    """One line for each way, one column for each number of examples, as Markdown."""
    sizes = _sizes(record)
    heads = " | ".join(_size_name(record, size) for size in sizes)
    lines = [f"| strategy | {heads} |", f"|---|{'---:|' * len(sizes)}"]
    for way in _ways(record):
        cells = [_cell(record, way, size) for size in sizes]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    lines += ["", _conditions(record), "", *(f"- {sentence}" for sentence in verdicts(record))]
    return "\n".join(lines)


def verdicts(record: Record) -> list[str]:
    """Higher start, steeper slope, higher end (Torrey & Shavlik 2010), and where each way wins."""
    sizes = _sizes(record)
    told = []
    if len(sizes) > 1:
        told += [_start(record, sizes[0]), _slope(record, sizes[0], sizes[1])]
    told.append(_end(record, sizes[-1]))
    told += [_winner(record, size) for size in sizes]
    return told


def _start(record: Record, size: int) -> str:
    zero = record["zero_shot"]["value"]
    return (
        f"Higher start: with {_size_name(record, size)}, {_best(record, size)}"
        f"{_against_control(record, size)}; by label names alone, without an example, {zero:.3f}."
    )


def _slope(record: Record, first: int, second: int) -> str:
    """Points gained between the two smallest numbers of examples."""
    gains = {
        way: _row(record, way, second)["mean"] - _row(record, way, first)["mean"]
        for way in _ways(record)
        if _row(record, way, first) and _row(record, way, second)
    }
    transferred = {way: gain for way, gain in gains.items() if way != CONTROL} or gains
    steepest = max(transferred, key=lambda way: transferred[way])
    control = (
        f"; {CONTROL}, from where it began, {gains[CONTROL] * 100:.1f}" if CONTROL in gains else ""
    )
    return (
        f"Steeper slope: from {_size_name(record, first)} to {_size_name(record, second)}, of all "
        f"that transfer {steepest} gains most, {gains[steepest] * 100:.1f} points{control}."
    )


def _end(record: Record, size: int) -> str:
    name = _size_name(record, size)
    return f"Higher end: with {name}, {_best(record, size)}{_against_control(record, size)}."


def _winner(record: Record, size: int) -> str:
    """The best way, all that are as good as its seeds can tell, and the quickest of those."""
    rows = [row for row in record["rows"] if row["examples"] == size]
    top = max(rows, key=lambda row: row["mean"])
    near = [row for row in rows if top["mean"] - row["mean"] <= max(0.01, top["std"] + row["std"])]
    quick = min(near, key=lambda row: row["cpu_seconds"])
    others = [row["way"] for row in near if row is not top]
    as_good = f"; as good within a point or the spread: {', '.join(others)}" if others else ""
    quickest = (
        f"; the quickest of them: {quick['way']}, {quick['cpu_seconds']:.0f} s" if others else ""
    )
    return f"{_size_name(record, size)}: {top['way']} wins ({top['mean']:.3f}){as_good}{quickest}."


def _best(record: Record, size: int) -> str:
    rows = [row for row in record["rows"] if row["examples"] == size and row["way"] != CONTROL]
    row = max(rows or record["rows"], key=lambda row: row["mean"])
    return f"{row['way']} reaches {row['mean']:.3f}"


def _against_control(record: Record, size: int) -> str:
    row = _row(record, CONTROL, size)
    return f", {CONTROL} {row['mean']:.3f}" if row else ""


def _conditions(record: Record) -> str:
    why = f" ({record['why_fewer_seeds']})" if record["why_fewer_seeds"] else ""
    seeds = ", ".join(
        f"{_size_name(record, int(size))}: {count}" for size, count in record["seeds"].items()
    )
    return (
        f"{record['metric'].capitalize()} on {record['n']:,} test rows of {record['data']} "
        f"({record['labels']} classes), mean over the seeds with their standard deviation, and the "
        "processor seconds of one training. Each seed draws other examples; those of a smaller "
        f"number are among those of a larger one. Seeds: {seeds}{why}. The last step is scored; "
        "nothing is chosen on dev. `scratch` is the same shape from random weights."
    )


def _cell(record: Record, way: str, size: int) -> str:
    row = _row(record, way, size)
    if row is None:
        return "-"
    deviation = f" ± {row['std']:.3f}" if len(row["values"]) > 1 else ""
    mean = f"{row['mean']:.3f}{deviation}"
    top = max(other["mean"] for other in record["rows"] if other["examples"] == size)
    return f"{f'**{mean}**' if row['mean'] == top else mean} ({row['cpu_seconds']:.0f} s)"


def _row(record: Record, way: str, size: int) -> Record | None:
    found = (row for row in record["rows"] if (row["way"], row["examples"]) == (way, size))
    return next(found, None)


def _ways(record: Record) -> list[str]:
    return list(dict.fromkeys(row["way"] for row in record["rows"]))


def _sizes(record: Record) -> list[int]:
    """In rising order; all rows last."""
    found = {row["examples"] for row in record["rows"]}
    return sorted(found, key=lambda size: (size == ALL, size))


def _size_name(record: Record, size: int) -> str:
    if size != ALL:
        return f"{size} a class"
    per_class = next(row["rows_per_class"] for row in record["rows"] if row["examples"] == ALL)
    return f"all ({per_class:.0f} a class)"


def plot(record: Record) -> str:
    """The metric over examples a class, as SVG, with a legend."""
    points = [
        Point(
            row["rows_per_class"],
            row["mean"],
            row["mean"] - row["std"],
            row["mean"] + row["std"],
            "",
            row["way"],
        )
        for row in _by_way(record)
    ]
    title = f"Learning curves on {record['data']}"
    return scatter(points, title, "examples a class, logarithmic", record["metric"], legend=True)


def _by_way(record: Record) -> Sequence[Record]:
    return [row for way in _ways(record) for row in record["rows"] if row["way"] == way]
