"""The confusion matrix: who is taken for whom, as counts and as a picture.

    found = confusion(task, rows, encoded, outputs, out_of_scope)
    picture(found, "intent/full")        # an SVG document

Counted is what the user sees: where a classifier abstains, that is a column of its own, and texts
out of scope are a row of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from training.evaluate import class_scores
from training.rows import LabelledText
from training.weak_spots import OUT_OF_SCOPE

ABSTAINED = "(abstained)"
RIGHT, WRONG = "#1f6feb", "#d1495b"
SIDE = 720  # of the matrix in pixels, about
CELLS = (7, 40)  # smallest and largest side of a cell
NUMBERS = 18  # a cell of fewer pixels shows its number only when pointed at
MARGIN = 12


@dataclass(frozen=True)
class Confusion:
    """counts: (truth, said) -> rows; truths, said: names of the lines and columns, in order"""

    truths: list[str]
    said: list[str]
    counts: Counter[tuple[str, str]]

    def record(self) -> dict[str, Any]:
        """Cells without a row are left out: of 150 classes nearly all are."""
        cells = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return {
            "truths": self.truths,
            "said": self.said,
            "cells": [{"truth": truth, "said": said, "n": n} for (truth, said), n in cells],
        }


def confusion(
    task: Classify,
    rows: Sequence[LabelledText],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
    out_of_scope: str = "",
) -> Confusion:
    """Of a classifier with one label a text."""
    labels = task.settings.labels
    scores = class_scores(task, encoded, outputs)
    best = np.array(labels)[scores.argmax(axis=1)]
    abstains = scores.max(axis=1) < task.settings.threshold
    said = [ABSTAINED if none else str(name) for none, name in zip(abstains, best, strict=True)]
    outside = bool(out_of_scope) and any(row.labels[0] == out_of_scope for row in rows)
    truth = [
        OUT_OF_SCOPE if outside and row.labels[0] == out_of_scope else row.labels[0] for row in rows
    ]
    return Confusion(
        [*labels, *[OUT_OF_SCOPE] * outside],
        [*labels, *[ABSTAINED] * (ABSTAINED in said)],
        Counter(zip(truth, said, strict=True)),
    )


def picture(found: Confusion, title: str) -> str:
    """SVG: a line for each truth, a column for what was said; the darker, the larger the share of
    the line. Blue is right, an abstention outside of the scope too; red is wrong."""
    cell = max(CELLS[0], min(CELLS[1], SIDE // max(len(found.said), 1)))
    letter = min(12, cell)
    names = max(len(name) for name in [*found.truths, *found.said])
    left = MARGIN + round(names * letter * 0.6) + 6
    top = 46 + round(names * letter * 0.6)
    width = left + cell * len(found.said) + MARGIN
    height = top + cell * len(found.truths) + MARGIN
    parts = [
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{MARGIN}" y="20" font-size="15">{escape(title)}</text>',
        f'<text x="{MARGIN}" y="36" font-size="11" fill="#555">lines: the truth; columns: what '
        "was said; shade: share of the line</text>",
        *_names(found, cell, letter, left, top),
        *_cells(found, cell, letter, left, top),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" role="img" aria-label="{escape(title, quote=True)}">\n'
        f"{body}\n</svg>\n"
    )


def _names(found: Confusion, cell: int, letter: int, left: int, top: int) -> list[str]:
    lines = [
        f'<text x="{left - 4}" y="{top + cell * i + cell * 0.5 + letter * 0.35:.1f}" '
        f'font-size="{letter}" text-anchor="end">{escape(name)}</text>'
        for i, name in enumerate(found.truths)
    ]
    columns = [
        f'<text transform="translate({left + cell * i + cell * 0.5 + letter * 0.35:.1f} {top - 4})'
        f' rotate(-90)" font-size="{letter}">{escape(name)}</text>'
        for i, name in enumerate(found.said)
    ]
    return lines + columns


def _cells(found: Confusion, cell: int, letter: int, left: int, top: int) -> list[str]:
    size = len(found.said) * cell, len(found.truths) * cell
    parts = [
        f'<rect x="{left}" y="{top}" width="{size[0]}" height="{size[1]}" '
        'fill="#f6f8fa" stroke="#ccc"/>'
    ]
    totals = Counter[str]()
    for (truth, _), n in found.counts.items():
        totals[truth] += n
    for (truth, said), n in sorted(found.counts.items()):
        x = left + cell * found.said.index(said)
        y = top + cell * found.truths.index(truth)
        share = n / totals[truth]
        right = truth == said or (truth, said) == (OUT_OF_SCOPE, ABSTAINED)
        parts.append(
            f'<rect x="{x}" y="{y}" width="{cell}" height="{cell}" '
            f'fill="{RIGHT if right else WRONG}" fill-opacity="{0.15 + 0.85 * share:.2f}">'
            f"<title>{escape(truth)} said to be {escape(said)}: {n} of {totals[truth]}</title>"
            "</rect>"
        )
        if cell >= NUMBERS:
            colour = "white" if share > 0.5 else "black"
            parts.append(
                f'<text x="{x + cell / 2:g}" y="{y + cell / 2 + letter * 0.35:.1f}" '
                f'font-size="{letter}" text-anchor="middle" fill="{colour}">{n}</text>'
            )
    return parts
