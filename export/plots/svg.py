"""SVG by hand: scales with round ticks, a frame with axes, and elements as text.

A plotting library would be 40 MB for five kinds of marks, and its pictures could not follow the
reader's light or dark theme: colours here are CSS classes of `plots.css`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from export.plots.labels import Box

STYLE = Path(__file__).with_name("plots.css").read_text(encoding="utf-8")
COLOURS = 10
ROUND = (1, 2, 5)
FINE = (1, 1.5, 2, 3, 4, 5, 6, 8)


def element(name: str, text: str | None = None, **attributes: object) -> str:
    """`<name ...>text</name>`; an underscore in a name becomes a hyphen, `class_` is `class`."""
    parts = [name]
    for key, value in attributes.items():
        shown = f"{value:.1f}" if isinstance(value, float) else str(value)
        parts.append(f'{key.rstrip("_").replace("_", "-")}="{escape(shown, quote=True)}"')
    head = " ".join(parts)
    return f"<{head}/>" if text is None else f"<{head}>{text}</{name}>"


def label(x: float, y: float, text: str, class_: str = "", anchor: str = "start") -> str:
    more = {"class_": class_} if class_ else {}
    return element("text", escape(text), x=x, y=y, text_anchor=anchor, **more)


def title(text: str) -> str:
    """What a browser shows when the pointer rests on the element around it."""
    return element("title", escape(text))


@dataclass(frozen=True)
class Scale:
    """From values to pixels; `logarithmic` needs values above 0."""

    low: float
    high: float
    first_px: float
    last_px: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(value)
        return self.first_px + (at - low) / (high - low) * (self.last_px - self.first_px)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def ticks(self, most: int = 7) -> list[float]:
        """Round values inside, at most so many."""
        return self._decades(most) if self.logarithmic else self._steps(most)

    def _steps(self, most: int) -> list[float]:
        span = self.high - self.low
        base = 10.0 ** math.floor(math.log10(span / most))
        step = next(base * m for m in (*ROUND, 10) if span / (base * m) <= most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(n * step, 12) for n in range(first, last + 1)]

    def _decades(self, most: int) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for multiples in ((1,), ROUND, FINE):
            values = [m * 10.0**d for d in decades for m in multiples]
            inside = [value for value in values if self.holds(value)]
            if len(inside) > most:
                break
            found = inside
        return found


def around(values: Sequence[float], room: float = 0.08) -> tuple[float, float]:
    """A range with some room on both sides; never empty."""
    low, high = min(values), max(values)
    more = (high - low) * room or abs(high) * 0.05 or 1.0
    return low - more, high + more


def around_log(values: Sequence[float], room: float = 0.08) -> tuple[float, float]:
    """The same for a logarithmic scale."""
    low, high = around([math.log(value) for value in values], room)
    return math.exp(low), math.exp(high)


@dataclass(frozen=True)
class Frame:
    """Where a plot lies in its picture, in pixels."""

    width: int = 520
    height: int = 340
    left: int = 58
    right: int = 18
    top: int = 14
    bottom: int = 46

    @property
    def x_end(self) -> int:
        return self.width - self.right

    @property
    def y_end(self) -> int:
        return self.height - self.bottom

    @property
    def inside(self) -> Box:
        """Between the axes."""
        return Box(self.left, self.top, self.x_end, self.y_end)

    def x_scale(self, low: float, high: float, logarithmic: bool = False) -> Scale:
        return Scale(low, high, self.left, self.x_end, logarithmic)

    def y_scale(self, low: float, high: float, logarithmic: bool = False) -> Scale:
        return Scale(low, high, self.y_end, self.top, logarithmic)

    def x_ticks(self, x: Scale) -> list[str]:
        """Lines from the top to the bottom, and their values."""
        parts = []
        for value in x.ticks():
            at = x(value)
            parts.append(element("path", class_="grid", d=f"M{at:.1f} {self.top}V{self.y_end}"))
            parts.append(label(at, self.y_end + 17, number(value), "tick", "middle"))
        return parts

    def axes(self, x: Scale, y: Scale, x_label: str, y_label: str) -> list[str]:
        """Grid, ticks and names."""
        parts = []
        for value in y.ticks():
            at = y(value)
            parts.append(element("path", class_="grid", d=f"M{self.left} {at:.1f}H{self.x_end}"))
            parts.append(label(self.left - 8, at + 4, number(value), "tick", "end"))
        parts += self.x_ticks(x)
        middle_x, middle_y = (self.left + self.x_end) / 2, (self.top + self.y_end) / 2
        parts.append(element("path", class_="axis", d=f"M{self.left} {self.y_end}H{self.x_end}"))
        parts.append(label(middle_x, self.height - 8, x_label, "name", "middle"))
        turned = f"translate(14 {middle_y:.0f}) rotate(-90)"
        name = escape(y_label)
        parts.append(element("text", name, class_="name", transform=turned, text_anchor="middle"))
        return parts

    def picture(self, parts: Sequence[str], name: str, class_: str) -> str:
        """The SVG element, to be put into a page."""
        body = "\n".join(parts)
        size = f"0 0 {self.width} {self.height}"
        return element(
            "svg",
            f"{title(name)}\n{body}\n",
            class_=f"plot {class_}",
            viewBox=size,
            role="img",
            aria_label=name,
        )


def standalone(picture: str, style: str = "") -> str:
    """The same as a file of its own, which follows the reader's theme as well.

    style: CSS of its own classes
    """
    sheet = element("style", f"\n{STYLE}{style}")
    head = '<svg xmlns="http://www.w3.org/2000/svg"'
    opened = picture.replace("<svg", head, 1)
    first = opened.index(">") + 1
    return f"{opened[:first]}\n{sheet}{opened[first:]}\n"


def drawing(frame: Frame, parts: Sequence[str], heading: str) -> str:
    """A plot as a file of its own: paper, heading, and its parts."""
    paper = element("rect", class_="paper", width=frame.width, height=frame.height, rx=8)
    top = label(frame.width / 2, 26, heading, "heading", "middle")
    return standalone(frame.picture([paper, top, *parts], heading, "drawing"))


def series_class(place: int) -> str:
    """The CSS class of the colour of the series at that place; they come again after ten."""
    return f"c{place % COLOURS}"


def number(value: float) -> str:
    """As short as it can be told: 0.5, 20, 1k."""
    if value and abs(value) >= 1000 and value % 100 == 0:
        return f"{value / 1000:g}k"
    return f"{value:g}"
