"""The part of a card that says what the model is bad at: counted errors, and probes of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 160  # characters of a probe's text in the table

Spot = Mapping[str, Any]


def weak_spots_text(spots: Mapping[str, Sequence[Spot]]) -> list[str]:
    """Two paragraphs at most: the worst slices as a table, and what is taken for what."""
    return [*_slices(spots.get("slices", [])), *_confused(spots.get("confused", []))]


def _slices(slices: Sequence[Spot]) -> list[str]:
    if not slices:
        return []
    lines = ["Counted on the test rows, fp32:", "", "| by | of | rows | metric | value |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| {s['by']} | {s['of']} | {s['n']:,} | {s['metric']} | {s['value']:.3f} |" for s in slices
    ]
    return ["\n".join(lines)]


def _confused(pairs: Sequence[Spot]) -> list[str]:
    if not pairs:
        return []
    told = [f"{p['truth']} for {p['said']} ({p['n']} of {p['of']:,})" for p in pairs]
    return [f"Most often taken for another: {'; '.join(told)}."]


def probes_text(probes: Sequence[Spot]) -> list[str]:
    """Each probe with the model's answer, the right one, and what makes it hard."""
    if not probes:
        return []
    wrong = sum(not probe["is_right"] for probe in probes)
    lines = [
        f"Asked with texts of our own, written after looking at its errors (int8; {wrong} of "
        f"{len(probes)} wrong):",
        "",
        "| asked | it says | right would be | why it is hard |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {_asked(p['ask'])} | {_shown(p['says'])} ({p['score']:.2f}) | {_shown(p['right'])} | "
        f"{_cell(p['about'])} |"
        for p in probes
    ]
    return ["\n".join(lines)]


def _asked(fields: Mapping[str, str]) -> str:
    return "<br>".join(_cell(text) for text in fields.values())


def _shown(answer: Any) -> str:
    if isinstance(answer, list):
        return ", ".join(map(str, answer)) or "nothing"
    return "nothing" if answer is None else _cell(str(answer))


def _cell(text: str) -> str:
    """One line that does not end the cell, cut where it gets long."""
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 3] + "..."
