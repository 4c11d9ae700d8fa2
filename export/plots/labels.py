"""Names beside points of a plot, none over another.

In: where the points are and what they are called. Out: where each name goes: right of its point,
or left of it, and moved up or down as little as it takes to lie over no name and no mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

CHARACTER_PX = 6.6
LINE_PX = 15.0
ASCENT_PX, DESCENT_PX = 9.0, 3.0


@dataclass(frozen=True)
class Named:
    """A point in pixels; gap: how far its mark reaches."""

    x: float
    y: float
    text: str
    gap: float = 6.0


class Box(NamedTuple):
    """What names have to stay in, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Placed:
    x: float
    y: float
    anchor: str

    def covers(self, other: Placed, width: float, other_width: float) -> bool:
        mine, its = self._left(width), other._left(other_width)
        return mine < its + other_width and its < mine + width and abs(self.y - other.y) < LINE_PX

    def within(self, box: Box, width: float) -> bool:
        left = self._left(width)
        return (
            box.left <= left
            and left + width <= box.right
            and box.top + ASCENT_PX <= self.y <= box.bottom - DESCENT_PX
        )

    def hides(self, point: Named, width: float) -> bool:
        """Whether the name lies over a mark."""
        left = self._left(width)
        beside = point.x + point.gap <= left or left + width <= point.x - point.gap
        above = self.y + DESCENT_PX <= point.y - point.gap
        below = point.y + point.gap <= self.y - ASCENT_PX
        return not (beside or above or below)

    def _left(self, width: float) -> float:
        return self.x if self.anchor == "start" else self.x - width


def place(points: Sequence[Named], box: Box) -> list[Placed]:
    """A place for every name, in the order of the points; over the mark of another if it must."""
    done: list[tuple[Placed, float]] = []
    for point in points:
        width = CHARACTER_PX * len(point.text)
        near = _near(point)
        free = [
            at
            for at in near
            if at.within(box, width) and not any(at.covers(one, width, w) for one, w in done)
        ]
        clear = (at for at in free if not any(at.hides(one, width) for one in points))
        done.append((next(clear, None) or next(iter(free), near[0]), width))
    return [one for one, _ in done]


def _near(point: Named) -> list[Placed]:
    """All places of a name, the nearest first."""
    moves = sorted((n * LINE_PX / 3 for n in range(-24, 25)), key=abs)
    sides = {"start": point.x + point.gap, "end": point.x - point.gap}
    return [Placed(x, point.y + 4 + move, side) for move in moves for side, x in sides.items()]
