"""One measured figure: its value, its spread over the rounds, what it had to reach, and whether."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from load_tests.peers.rounds import spread


@dataclass(frozen=True)
class Target:
    """A bound, `least` or most, and in words what it is a share or a multiple of."""

    number: float
    words: str = ""
    least: bool = True
    stretch: float | None = None

    def reached(self, value: float) -> bool:
        return value >= self.number if self.least else value <= self.number

    def __str__(self) -> str:
        text = f"{'>=' if self.least else '<='} {self.number:g} {self.words}".strip()
        return f"{text} (stretch {self.stretch:g})" if self.stretch is not None else text


def at_least(number: float, words: str = "", stretch: float | None = None) -> Target:
    return Target(number, words, True, stretch)


def at_most(number: float, words: str = "", stretch: float | None = None) -> Target:
    return Target(number, words, False, stretch)


def figure(
    name: str,
    values: Sequence[float],
    unit: str,
    target: Target | None = None,
    *,
    how: str = "",
    value: float | None = None,
) -> dict[str, Any]:
    """A row of the report: the median of `values` unless `value` says otherwise.

    values: one for each round; their lowest and highest are the spread
    how: in words, what else one must know to read the number
    """
    middle = median(values) if value is None else value
    row: dict[str, Any] = {"name": name, "value": middle, "unit": unit}
    if target:
        row |= {
            "target": str(target),
            "target_number": target.number,
            "reached": target.reached(middle),
        }
        if target.stretch is not None:
            stretched = Target(target.stretch, least=target.least)
            row["stretch_reached"] = stretched.reached(middle)
    low, high = spread(values)
    row |= {"spread": [low, high], "rounds": len(values)}
    return {**row, "how": how} if how else row
