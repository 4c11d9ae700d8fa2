"""Which variants are worth having: those that no other beats.

In: rows of one model with `quality.value` and `latency_ms.p99`. Out: for each, whether it is on the
Pareto front: no other row is at least as good in both and better in one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def place(row: Row) -> tuple[float, float] | None:
    """(p99 in ms, quality) of a row; None where one of them is missing or was not valid."""
    quality, latency = row.get("quality"), row.get("latency_ms")
    if not quality or not latency or not single_is_valid(row):
        return None
    return float(latency["p99"]), float(quality["value"])


def single_is_valid(row: Row) -> bool:
    """Whether the run that `latency_ms` comes from was valid."""
    single = row.get("scenarios", {}).get("single_stream", {}).get("mixed", {})
    return bool(single.get("valid", True))


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether `one` is faster and better than `other`, or better in one and equal in the other."""
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def pareto(rows: Sequence[Row]) -> list[bool | None]:
    """For each row whether nothing dominates it; None where it has no place in the plot."""
    places = [place(row) for row in rows]
    return [
        None
        if mine is None
        else not any(other is not None and dominates(other, mine) for other in places)
        for mine in places
    ]
