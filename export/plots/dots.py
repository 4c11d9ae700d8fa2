"""A dot plot: one line for each thing that was measured, named at the left.

dots([Dot("alpha 0.5", 0.951, 0.943, 0.959, other=0.947)], title, "accuracy", ("with", "without"))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.plots.svg import (
    Frame,
    Scale,
    around,
    drawing,
    element,
    label,
    series_class,
    title,
)

ROW, TOP, BOTTOM = 24, 66, 50
VALUE, OTHER = f"series {series_class(0)}", f"series hollow {series_class(1)}"


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


def dots(dots: Sequence[Dot], heading: str, x_label: str, legend: tuple[str, str]) -> str:
    """The SVG document, the first of `dots` at the top; legend: `value` and `other` in words."""
    height = TOP + ROW * len(dots) + BOTTOM
    frame = Frame(width=760, height=height, left=230, right=30, top=TOP, bottom=BOTTOM)
    x = frame.x_scale(*around([value for dot in dots for value in dot.values]))
    parts = [*_legend(legend, frame), *_x_axis(frame, x, x_label)]
    for place, dot in enumerate(dots):
        parts += _line(dot, TOP + ROW * (place + 0.5), frame, x)
    return drawing(frame, parts, heading)


def _x_axis(frame: Frame, x: Scale, x_label: str) -> list[str]:
    middle = (frame.left + frame.x_end) / 2
    return [*frame.x_ticks(x), label(middle, frame.height - 10, x_label, "name", "middle")]


def _line(dot: Dot, y: float, frame: Frame, x: Scale) -> list[str]:
    parts = [label(frame.left - 10, y + 4, dot.name, "", "end")]
    if dot.low is not None and dot.high is not None:
        ends = f"M{x(dot.low):.1f} {y:.1f}H{x(dot.high):.1f}"
        interval = element("path", class_="interval", d=ends)
        parts.append(element("g", interval, class_=VALUE))
    if dot.other is not None:
        parts.append(_mark(dot.other, x, y, OTHER))
    return [*parts, _mark(dot.value, x, y, VALUE)]


def _mark(value: float, x: Scale, y: float, class_: str) -> str:
    circle = element("circle", title(f"{value:.4g}"), class_="dot", cx=x(value), cy=y, r=4)
    return element("g", circle, class_=class_)


def _legend(names: tuple[str, str], frame: Frame) -> list[str]:
    parts = []
    for name, class_, at in zip(names, (VALUE, OTHER), (6, 266), strict=True):
        circle = element("circle", class_="dot", cx=frame.left + at, cy=46, r=4)
        parts.append(element("g", circle, class_=class_))
        parts.append(label(frame.left + at + 10, 50, name))
    return parts
