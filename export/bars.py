"""A plot of a few figures for each of some names, as SVG: points on lines, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from export.plot import COLOURS

WIDTH, LEFT, RIGHT, TOP, LINE = 720, 240, 60, 70, 34


@dataclass(frozen=True)
class Bar:
    """figures: by the name of the series, in the same order for all"""

    name: str
    figures: Mapping[str, float]


def bars(found: Sequence[Bar], title: str, label: str) -> str:
    """The SVG document; the axis begins where the smallest figure needs it to."""
    values = [value for bar in found for value in bar.figures.values()]
    room = (max(values) - min(values)) * 0.1 or 0.01
    low, high = min(values) - room, max(values) + room
    height = TOP + LINE * len(found) + 40
    parts = [
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{WIDTH / 2:.0f}" y="24" text-anchor="middle" font-size="16">'
        f"{escape(title)}</text>",
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{height - 12}" text-anchor="middle">'
        f"{escape(label)}</text>",
    ]
    for number, series in enumerate(found[0].figures):
        parts.append(
            f'<text x="{LEFT + 110 * number}" y="48" fill="{COLOURS[number]}">'
            f"● {escape(series)}</text>"
        )
    for place, bar in enumerate(found):
        y = TOP + LINE * (place + 0.5)
        parts.append(
            f'<text x="{LEFT - 12}" y="{y + 4:.0f}" text-anchor="end">{escape(bar.name)}</text>'
            f'<path d="M{LEFT} {y:.0f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>'
        )
        for number, value in enumerate(bar.figures.values()):
            x = LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.0f}" r="4" fill="{COLOURS[number]}"/>'
                f'<text x="{x:.1f}" y="{y - 8:.0f}" text-anchor="middle" font-size="10" '
                f'fill="{COLOURS[number]}">{value:.3f}</text>'
            )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">\n{body}\n</svg>\n'
    )
