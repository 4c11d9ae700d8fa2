"""A scatter plot with intervals: few points, each with its name, over a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.plots.labels import Named, place
from export.plots.svg import (
    Frame,
    Scale,
    around,
    around_log,
    drawing,
    element,
    label,
    series_class,
    title,
)

FRAME = Frame(width=720, height=440, left=70, right=30, top=50, bottom=60)
RADIUS = 4.0


@dataclass(frozen=True)
class Point:
    """x > 0; low to high: the interval of y; series: points of one colour, joined by a line"""

    x: float
    y: float
    low: float
    high: float
    name: str
    series: str


def scatter(
    points: Sequence[Point], heading: str, x_label: str, y_label: str, legend: bool = False
) -> str:
    """The SVG document; legend: names the series at the lower right, where rising lines are not."""
    x = FRAME.x_scale(*around_log([point.x for point in points]), logarithmic=True)
    y = FRAME.y_scale(*around([end for point in points for end in (point.low, point.high)]))
    parts = FRAME.axes(x, y, x_label, y_label)
    colours = {name: series_class(number) for number, name in enumerate(_series(points))}
    for name, colour in colours.items():
        mine = sorted((point for point in points if point.series == name), key=lambda p: p.x)
        parts += _course(mine, colour, x, y)
        parts += [_mark(point, colour, x, y) for point in mine]
    parts += _names(points, colours, x, y)
    if legend:
        parts += _legend(colours)
    return drawing(FRAME, parts, heading)


def _series(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.series for point in points))


def _course(points: Sequence[Point], colour: str, x: Scale, y: Scale) -> list[str]:
    if len(points) < 2:
        return []
    path = "L".join(f"{x(point.x):.1f} {y(point.y):.1f}" for point in points)
    return [element("path", class_=f"course {colour}", d=f"M{path}", stroke_opacity="0.4")]


def _mark(point: Point, colour: str, x: Scale, y: Scale) -> str:
    at = x(point.x)
    inside = [title(f"{point.name or point.series}: {point.y:.4g}")]
    if point.low < point.high:
        ends = f"M{at:.1f} {y(point.low):.1f}V{y(point.high):.1f}"
        inside.append(element("path", class_="interval", d=ends))
    inside.append(element("circle", class_="dot", cx=at, cy=y(point.y), r=RADIUS))
    return element("g", "".join(inside), class_=f"series {colour}")


def _names(points: Sequence[Point], colours: dict[str, str], x: Scale, y: Scale) -> list[str]:
    named = [point for point in points if point.name]
    spots = [Named(x(point.x), y(point.y), point.name, RADIUS + 4) for point in named]
    places = place(spots, FRAME.inside._replace(right=FRAME.width))
    return [
        label(at.x, at.y, point.name, f"series halo {colours[point.series]}", at.anchor)
        for point, at in zip(named, places, strict=True)
    ]


def _legend(colours: dict[str, str]) -> list[str]:
    first = FRAME.y_end - 8 - 16 * (len(colours) - 1)
    return [
        label(FRAME.x_end - 110, first + 16 * number, f"● {name}", f"series {colour}")
        for number, (name, colour) in enumerate(colours.items())
    ]
