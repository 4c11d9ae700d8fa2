"""Which keys of a search mattered, as bars: SVG, the longest first."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

LEFT, WIDTH, BAR, GAP, TOP = 170, 420, 20, 10, 46


def importance_plot(importance: Mapping[str, float]) -> str:
    """importance: key -> share of the variance, 0..1"""
    ranked = sorted(importance.items(), key=lambda item: (-item[1], item[0]))
    height = TOP + len(ranked) * (BAR + GAP) + GAP
    bars = [
        f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{max(1.0, share * WIDTH):.1f}" height="{BAR}" '
        'fill="#1f6feb"/>'
        f'<text x="{LEFT + max(1.0, share * WIDTH) + 6:.1f}" y="{y + 15}">{share:.2f}</text>'
        for y, (name, share) in zip(range(TOP, height, BAR + GAP), ranked, strict=False)
    ]
    width = LEFT + WIDTH + 60
    body = "\n".join(bars)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="13">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
        f'<text x="12" y="26" font-size="15">Share of the variance of the dev score</text>\n'
        f"{body}\n</svg>\n"
    )
