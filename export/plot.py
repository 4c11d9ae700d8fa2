"""A scatter plot with intervals as SVG: few points, each with its name, over a logarithmic axis.

Written by hand because it is the only plot of this room: a library of 40 MB would be needed for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 50, 60
COLOURS = (
    *("#1f6feb", "#d1495b", "#2e8b57", "#8a5a00", "#6f42c1"),
    *("#0b7285", "#c2410c", "#555555", "#a61e8c", "#5c7a00"),
)
TICKS = (1, 2, 5)
LETTER = 6.5  # about the width of one


@dataclass(frozen=True)
class Point:
    """x > 0; low to high: the interval of y; series: points of one colour, joined by a line"""

    x: float
    y: float
    low: float
    high: float
    name: str
    series: str


@dataclass(frozen=True)
class Axes:
    """From values to pixels."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]

    @classmethod
    def around(cls, points: Sequence[Point]) -> Axes:
        low, high = min(p.low for p in points), max(p.high for p in points)
        room = (high - low) * 0.08 or 0.01
        xs = [p.x for p in points]
        return cls((min(xs) / 1.3, max(xs) * 1.5), (low - room, high + room))

    def x(self, value: float) -> float:
        first, last = map(math.log, self.x_range)
        return LEFT + (math.log(value) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        first, last = self.y_range
        return HEIGHT - BOTTOM - (value - first) / (last - first) * (HEIGHT - TOP - BOTTOM)


def scatter(
    points: Sequence[Point], title: str, x_label: str, y_label: str, legend: bool = False
) -> str:
    """The SVG document; legend: names the series at the lower right, where rising lines are not."""
    axes = Axes.around(points)
    series = list(dict.fromkeys(point.series for point in points))
    parts = [*_frame(title, x_label, y_label), *_x_ticks(axes), *_y_ticks(axes)]
    for number, name in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        mine = sorted((p for p in points if p.series == name), key=lambda p: p.x)
        parts += _line(axes, mine, colour)
        for point in mine:
            parts += _mark(axes, point, colour)
    if legend:
        parts += _legend(series)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n{body}\n</svg>\n'
    )


def _frame(title: str, x_label: str, y_label: str) -> list[str]:
    middle, floor = (LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM
    return [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{middle:.0f}" y="25" text-anchor="middle" font-size="16">{escape(title)}</text>',
        f'<path d="M{LEFT} {TOP}V{floor}H{WIDTH - RIGHT}" fill="none" stroke="#333"/>',
        f'<text x="{middle:.0f}" y="{HEIGHT - 15}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text transform="translate(18 {(TOP + floor) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>',
    ]


def _x_ticks(axes: Axes) -> list[str]:
    decades = range(math.floor(math.log10(axes.x_range[0])), math.ceil(math.log10(axes.x_range[1])))
    values = [tick * 10.0**decade for decade in decades for tick in TICKS]
    floor = HEIGHT - BOTTOM
    return [
        f'<path d="M{axes.x(v):.1f} {floor}v5" stroke="#333"/>'
        f'<text x="{axes.x(v):.1f}" y="{floor + 19}" text-anchor="middle">{v:g}</text>'
        for v in values
        if axes.x_range[0] <= v <= axes.x_range[1]
    ]


def _y_ticks(axes: Axes) -> list[str]:
    low, high = axes.y_range
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(s for s in (step / 5, step / 2, step) if (high - low) / s <= 10)
    first = math.ceil(low / step)
    values = [n * step for n in range(first, math.floor(high / step) + 1)]
    return [
        f'<path d="M{LEFT} {axes.y(v):.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>'
        f'<text x="{LEFT - 8}" y="{axes.y(v) + 4:.1f}" text-anchor="end">{v:.3f}</text>'
        for v in values
    ]


def _line(axes: Axes, points: Sequence[Point], colour: str) -> list[str]:
    if len(points) < 2:
        return []
    path = "L".join(f"{axes.x(p.x):.1f} {axes.y(p.y):.1f}" for p in points)
    return [f'<path d="M{path}" fill="none" stroke="{colour}" stroke-opacity="0.4"/>']


def _legend(series: Sequence[str]) -> list[str]:
    first = HEIGHT - BOTTOM - 8 - 16 * (len(series) - 1)
    return [
        f'<text x="{WIDTH - RIGHT - 110}" y="{first + 16 * number}" '
        f'fill="{COLOURS[number % len(COLOURS)]}">● {escape(name)}</text>'
        for number, name in enumerate(series)
    ]


def _mark(axes: Axes, point: Point, colour: str) -> list[str]:
    x, y = axes.x(point.x), axes.y(point.y)
    return [
        f'<path d="M{x:.1f} {axes.y(point.low):.1f}V{axes.y(point.high):.1f}" stroke="{colour}"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>',
        f'<text {_beside(x, point.name)} y="{y - 7:.1f}" fill="{colour}">{escape(point.name)}'
        "</text>",
    ]


def _beside(x: float, name: str) -> str:
    """To the right of a point, or to its left where the name would leave the picture."""
    if x + 7 + LETTER * len(name) <= WIDTH:
        return f'x="{x + 7:.1f}"'
    return f'x="{x - 7:.1f}" text-anchor="end"'
