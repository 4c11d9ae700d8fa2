"""How much smaller, how much faster, how much worse: one sentence for each variant.

In: a row and that of its model's `full`. Out: "intent distilled-int8: 3.9x faster, 31 % of the
memory, -0.5 points [-1.1, +0.1]". What "faster" compares is said when it is not the headline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]

AS_FAST = (1 / 1.05, 1.05)  # the search for the highest rate is as fine as this


def verdict(row: Row, full: Row) -> str:
    """Empty when neither speed nor memory nor quality of both are known."""
    parts = [part for part in (_speed(row, full), _memory(row, full), _points(row)) if part]
    return f"{row['model']} {row['variant']}: {', '.join(parts)}." if parts else ""


def speed_ratio(row: Row, full: Row) -> tuple[float, str] | None:
    """(how many times as fast, by which measure): the headline where both have it."""
    for name, how in (("max_rps_at_slo", ""), ("throughput_rps", " offline")):
        if row.get(name) and full.get(name):
            return row[name] / full[name], how
    return None


def _speed(row: Row, full: Row) -> str:
    found = speed_ratio(row, full)
    if not found:
        return ""
    ratio, how = found
    if AS_FAST[0] < ratio < AS_FAST[1]:
        return f"as fast{how}"
    if ratio >= 1:
        return f"{ratio:.1f}x faster{how}"
    return f"{1 / ratio:.1f}x slower{how}"


def _memory(row: Row, full: Row) -> str:
    if not row.get("peak_pss_mb") or not full.get("peak_pss_mb"):
        return ""
    return f"{100 * row['peak_pss_mb'] / full['peak_pss_mb']:.0f} % of the memory"


def _points(row: Row) -> str:
    loss = row.get("loss")
    return f"{points(loss)}{'' if loss['paired'] else ' (not paired)'}" if loss else ""


def points(loss: Mapping[str, Any]) -> str:
    """A loss as a change in points with its interval: "-0.8 points [-1.4, -0.2]"."""
    shown = f"{signed(-100 * loss['value'])} points"
    if loss.get("ci_low") is None:
        return shown
    # A loss of at most `ci_high` is a change of at least -ci_high.
    return f"{shown} [{signed(-100 * loss['ci_high'])}, {signed(-100 * loss['ci_low'])}]"


def signed(value: float) -> str:
    """One digit after the point, a sign, and no "-0.0"."""
    text = f"{value:+.1f}"
    return "0.0" if float(text) == 0 else text
