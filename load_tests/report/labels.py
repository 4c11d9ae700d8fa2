"""Names beside points of a plot, none over another.

In: where the points are and what they are called. Out: where each name goes: right of its point,
left of it at the edge, and moved up or down as little as it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CHARACTER_PX = 6.6
LINE_PX = 15.0


@dataclass(frozen=True)
class Named:
    """A point in pixels; gap: how far its mark reaches."""

    x: float
    y: float
    text: str
    gap: float = 6.0


@dataclass(frozen=True)
class Placed:
    x: float
    y: float
    anchor: str

    def covers(self, other: Placed, width: float, other_width: float) -> bool:
        mine, its = self._left(width), other._left(other_width)
        return mine < its + other_width and its < mine + width and abs(self.y - other.y) < LINE_PX

    def _left(self, width: float) -> float:
        return self.x if self.anchor == "start" else self.x - width


def place(points: Sequence[Named], x_end: float, top: float, y_end: float) -> list[Placed]:
    """A place for every name, in the order of the points."""
    done: list[tuple[Placed, float]] = []
    for point in points:
        width = CHARACTER_PX * len(point.text)
        done.append((_free(point, width, done, x_end, top, y_end), width))
    return [one for one, _ in done]


def _free(
    point: Named,
    width: float,
    taken: Sequence[tuple[Placed, float]],
    x_end: float,
    top: float,
    y_end: float,
) -> Placed:
    fits = point.x + point.gap + width <= x_end
    sides = ["start", "end"] if fits else ["end"]
    moves = sorted((n * LINE_PX / 3 for n in range(-24, 25)), key=abs)
    for move in moves:
        for side in sides:
            x = point.x + point.gap if side == "start" else point.x - point.gap
            found = Placed(x, point.y + 4 + move, side)
            inside = top + 8 <= found.y <= y_end - 2
            if inside and not any(found.covers(one, width, w) for one, w in taken):
                return found
    return Placed(point.x + point.gap, point.y + 4, sides[0])
