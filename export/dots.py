"""A dot plot with intervals as SVG: one line for each thing that was measured, named at the left.

dots([Dot("alpha 0.5", 0.951, 0.943, 0.959, other=0.947)], title, "accuracy", ("with", "without"))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 760, 22, 210, 30, 66, 50
COLOURS = ("#1f6feb", "#d1495b")


@dataclass(frozen=True)
class Dot:
    """low to high: the interval of `value`, if there is one; other: what it is compared with"""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    other: float | None = None

    @property
    def values(self) -> list[float]:
        known = (self.value, self.low, self.high, self.other)
        return [value for value in known if value is not None]


def dots(dots: Sequence[Dot], title: str, x_label: str, legend: tuple[str, str]) -> str:
    """The SVG document, the first of `dots` at the top."""
    values = [value for dot in dots for value in dot.values]
    room = (max(values) - min(values)) * 0.06 or 0.01
    low, high = min(values) - room, max(values) + room
    floor = TOP + ROW * len(dots)

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    parts = [
        f'<rect width="{WIDTH}" height="{floor + BOTTOM}" fill="white"/>',
        f'<text x="{WIDTH / 2:.0f}" y="25" text-anchor="middle" font-size="16">'
        f"{escape(title)}</text>",
        *_legend(legend),
    ]
    for tick in ticks(low, high):
        parts.append(
            f'<path d="M{x(tick):.1f} {TOP}V{floor}" stroke="#e5e5e5"/>'
            f'<text x="{x(tick):.1f}" y="{floor + 18}" text-anchor="middle">{tick:.4g}</text>'
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{floor + 40}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    for number, dot in enumerate(dots):
        y = TOP + ROW * (number + 0.5)
        parts.append(
            f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(dot.name)}</text>'
        )
        if dot.low is not None and dot.high is not None:
            parts.append(
                f'<path d="M{x(dot.low):.1f} {y:.1f}H{x(dot.high):.1f}" stroke="{COLOURS[0]}" '
                'stroke-opacity="0.5" stroke-width="2"/>'
            )
        if dot.other is not None:
            parts.append(
                f'<circle cx="{x(dot.other):.1f}" cy="{y:.1f}" r="4" fill="white" '
                f'stroke="{COLOURS[1]}" stroke-width="1.5"/>'
            )
        parts.append(f'<circle cx="{x(dot.value):.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[0]}"/>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {floor + BOTTOM}" '
        f'font-family="sans-serif" font-size="12">\n{body}\n</svg>\n'
    )


def _legend(names: tuple[str, str]) -> list[str]:
    first, second = names
    return [
        f'<circle cx="{LEFT + 6}" cy="46" r="4" fill="{COLOURS[0]}"/>'
        f'<text x="{LEFT + 16}" y="50">{escape(first)}</text>',
        f'<circle cx="{LEFT + 266}" cy="46" r="4" fill="white" stroke="{COLOURS[1]}" '
        f'stroke-width="1.5"/><text x="{LEFT + 276}" y="50">{escape(second)}</text>',
    ]


def ticks(low: float, high: float) -> list[float]:
    """Round values between `low` and `high`, at most ten."""
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(s for s in (step / 5, step / 2, step, step * 2) if (high - low) / s <= 10)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(n * step, 12) for n in range(first, last + 1)]
