"""Where a variant and `full` disagree, as HTML: who is right, which classes suffer, worst examples.

In: the rows of one model. Out: a `<details>` for each variant; empty where nothing is known.
On labelled rows `row["disagreement"]` comes from `export.disagreement`; without labels there
are `row["differences"]` on the sample texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[str, Any]

CLASSES = 10


def disagreements(rows: Sequence[Row], about: Row | None) -> str:
    """about: {data, rows} of the labelled rows, None where there were none"""
    parts = [part for row in rows if (part := _variant(row))]
    if not parts:
        return ""
    where = (
        f"{about['rows']:,} labelled rows: {escape(about['data'])}"
        if about
        else "the sample texts of this repository, which nobody labelled for this model"
    )
    return f"<h3>Where full and the others disagree</h3><p class='note'>On {where}.</p>" + "".join(
        parts
    )


def _variant(row: Row) -> str:
    found = row.get("disagreement")
    inside = _labelled(found) if found else _examples(row.get("differences", ()))
    if not inside:
        return ""
    agreed = row.get("agreement_with_full")
    summary = (
        f"{row['variant']}: same answer as full {agreed:.1%}"
        if agreed is not None
        else row["variant"]
    )
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def _labelled(found: Row) -> str:
    return "".join(
        (
            _mcnemar(found.get("mcnemar")),
            _calibration(found.get("calibration_error")),
            _classes(found.get("classes", ())),
            _examples(found.get("worst", ())),
        )
    )


def _mcnemar(test: Row | None) -> str:
    if not test:
        return ""
    p = "&lt; 0.001" if test["p"] < 0.001 else f"{test['p']:.3f}"
    return (
        f"<p>Right where the other is wrong: full {test['full_only']:,} rows, this variant "
        f"{test['variant_only']:,}. McNemar's exact test: p {p}.</p>"
    )


def _calibration(error: Row | None) -> str:
    if not error:
        return ""
    return (
        f"<p>Calibration error ({escape(error['of'])}): full {100 * error['full']:.1f} points, "
        f"this variant {100 * error['variant']:.1f}.</p>"
    )


def _classes(classes: Sequence[Row]) -> str:
    if not classes:
        return ""
    lines = "".join(
        f'<tr><td>{escape(one["of"])}</td><td class="number">{one["n"]}</td>'
        f'<td class="number">{100 * one["full"]:.0f} %</td>'
        f'<td class="number">{100 * one["variant"]:.0f} %</td>'
        f'<td class="number">{_retained(one)}</td></tr>'
        for one in classes[:CLASSES]
    )
    metric = escape(classes[0]["metric"])
    return (
        f"<p>Classes that lose most ({metric}):</p>"
        '<div class="scroll"><table><thead><tr><th>class</th>'
        '<th class="number">rows</th><th class="number">full</th>'
        '<th class="number">variant</th><th class="number">kept</th></tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _retained(one: Row) -> str:
    return f"{one['variant'] / one['full']:.0%}" if one["full"] else "-"


def _examples(examples: Sequence[Row]) -> str:
    if not examples:
        return ""
    right = any("right" in one for one in examples)
    heads = "<th>asked</th>" + ("<th>right</th>" if right else "") + "<th>full</th><th>variant</th>"
    lines = "".join(_example(one, right) for one in examples)
    return (
        '<p>Worst examples:</p><div class="scroll"><table class="examples"><thead><tr>'
        f"{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _example(one: Row, right: bool) -> str:
    """A record that is published holds the row's number, from 0, in place of others' texts."""
    asked = one.get("asked") or f"row {one['row']}"
    cells = [asked, *([one.get("right", "-")] if right else [])]
    cells += [_said(one, "full"), _said(one, "variant")]
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _said(one: Row, who: str) -> str:
    score = one.get(f"{who}_score")
    return str(one.get(who, "-")) + ("" if score is None else f" ({score:.2f})")
