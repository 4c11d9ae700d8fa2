"""One self-contained page from a record: it opens from a file and loads nothing from elsewhere.

In: a record. Out: HTML with its style, pictures (SVG) and a few lines of script in it: a click on a
head sorts the table, and the price recomputes the costs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from export.plots.svg import STYLE
from load_tests.report.columns import COLUMNS, Column
from load_tests.report.disagreement import disagreements
from load_tests.report.plots import (
    VARIANT_STYLE,
    memory_plot,
    pareto_plot,
    rate_plot,
    stages_plot,
)
from load_tests.report.record import BASELINE, valid
from load_tests.report.verdict import signed

Row = Mapping[str, Any]

FOLDER = Path(__file__).parent
CAPTIONS = {
    "pareto": "Quality against p99, with 95 % intervals. The area is the peak memory; hollow: "
    "another variant is at least as good in both.",
    "rates": "p99 of an open loop against the rate that was due. Large dots: the highest rate that "
    "meets the target, confirmed by a second run.",
    "memory": "PSS of the server's process tree from ready to the end of the load.",
    "stages": "Where a request's time goes at that rate, by the server's own timing; the rest is "
    "HTTP, the network and the client.",
}


def page(record: Row) -> str:
    """The whole document."""
    at = record["environment"]
    models = list(dict.fromkeys(row["model"] for row in record["variants"]))
    style = (FOLDER / "page.css").read_text(encoding="utf-8") + STYLE + VARIANT_STYLE
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    body = [
        "<header><h1>Trade-offs</h1>",
        "<p>How much smaller, how much faster, how much worse: every variant, measured "
        f"{escape(at.get('measured', ''))} on {escape(str(at.get('cores', '?')))} cores "
        f"({escape(at.get('cpu', 'unknown processor'))}).</p>",
        f"<nav>{' '.join(_link(model) for model in models)}</nav></header>",
        _warnings(record),
        _verdicts(record),
        _table(record),
        *(_model(model, record) for model in models),
        _environment(record),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>Trade-offs</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + f"\n<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _link(model: str) -> str:
    return f'<a href="#{escape(model)}">{escape(model)}</a>'


def _warnings(record: Row) -> str:
    at = record["environment"]
    found = []
    if not at.get("validity", {}).get("idle_machine", True):
        used = at["validity"]["cpu_used_before"]
        found.append(
            f"Other programs used {used:.0%} of the machine: measure again when it is idle."
        )
    bad = [f"{row['model']} {row['variant']}" for row in record["variants"] if not valid(row)]
    if bad:
        found.append(f"Not valid in part, and there not drawn: {', '.join(bad)}.")
    items = "".join(f"<li>{escape(text)}</li>" for text in found)
    return f'<ul class="warnings">{items}</ul>' if found else ""


def _verdicts(record: Row) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in record["verdicts"])
    note = (
        "Against <code>full</code>. Faster: the requests a second that meet the p99 target; "
        "memory: the peak; points of quality with a 95 % interval."
    )
    return (
        f'<section><h2>Verdict</h2><ul class="verdicts">{items}</ul>'
        f'<p class="note">{note}</p></section>'
    )


# The table


def _table(record: Row) -> str:
    heads = "".join(_head(column) for column in COLUMNS)
    lines = "\n".join(_line(row) for row in record["variants"])
    price = record["environment"].get("price_per_hour", 0)
    return (
        '<section><h2>All variants</h2>\n<p class="note"><label>Price of the machine, an hour '
        f'<input id="price" type="number" min="0" step="any" value="{price:g}"></label> '
        "A click on a head sorts. *: the interval of two separate measurements.</p>\n"
        '<div class="scroll"><table id="variants"><thead><tr>'
        f"{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div></section>"
    )


def _head(column: Column) -> str:
    hint = f' title="{escape(column.hint, quote=True)}"' if column.hint else ""
    button = f'<button type="button">{escape(column.head)}</button>'
    kind = ' class="number"' if column.form else ""
    return f'<th scope="col" aria-sort="none"{kind}{hint}>{button}</th>'


def _line(row: Row) -> str:
    marks = "" if valid(row) else ' class="invalid" title="a run of it is not valid: see below"'
    rate = f' data-rate="{row["max_rps_at_slo"]}"' if row.get("max_rps_at_slo") else ""
    return f"<tr{marks}{rate}>" + "".join(_cell(column, row) for column in COLUMNS) + "</tr>"


def _cell(column: Column, row: Row) -> str:
    value = column.value(row)
    sort = "" if value is None else f' data-value="{escape(str(value), quote=True)}"'
    kind = ' class="number"' if column.form else ""
    inside = escape(column.shown(row)) + _below(column, row)
    return f'<td data-column="{column.key}"{kind}{sort}>{inside}</td>'


def _below(column: Column, row: Row) -> str:
    """What stands small under a figure: its interval, or what it is."""
    text = ""
    quality, loss = row.get("quality") or {}, row.get("loss") or {}
    if column.key == "quality" and quality.get("ci_low") is not None:
        text = f"{100 * quality['ci_low']:.1f} to {100 * quality['ci_high']:.1f}"
    if column.key == "variant" and quality:
        text = f"{quality['metric'].replace('_', ' ')}, n {quality['n']:,}"
    if column.key == "change_points" and loss.get("ci_low") is not None:
        text = f"{signed(-100 * loss['ci_high'])} to {signed(-100 * loss['ci_low'])}"
        text += "" if loss["paired"] else "*"
    if column.key == "p99_ms":
        ends = row.get("latency_ms", {}).get("ci", {}).get("p99")
        text = f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else ""
    if column.key == "max_rps_at_slo" and row.get("slo"):
        slo = row["slo"]
        limited = " or more" if slo["limited_by"] != "server" and slo["confirmed"] else ""
        text = f"p99 {slo['p99_ms']:g} ms{limited}"
    if column.key == "peak_pss_mb" and "p95_pss_mb" in row:
        text = f"p95 {row['p95_pss_mb']:,.0f}"
    if column.key == "energy_wh_per_million" and row.get("energy", {}).get("estimated"):
        text = "estimated"
    return f"<br><small>{escape(text)}</small>" if text else ""


# One model


def _model(model: str, record: Row) -> str:
    rows = [row for row in record["variants"] if row["model"] == model]
    pictures = {
        "pareto": pareto_plot(rows, f"{model}: quality against p99"),
        "rates": rate_plot(rows, f"{model}: p99 against rate"),
        "memory": memory_plot(rows, f"{model}: memory over time"),
        "stages": stages_plot(rows, f"{model}: stages of a request"),
    }
    figures = "\n".join(
        f"<figure>{picture}<figcaption>{CAPTIONS[name]}</figcaption></figure>"
        for name, picture in pictures.items()
        if picture
    )
    parts = [f'<section id="{escape(model)}"><h2>{escape(model)}</h2>']
    parts.append(f'<div class="figures">\n{figures}\n</div>' if figures else "")
    parts.append(disagreements(rows, record.get("models", {}).get(model)))
    parts.append(_closed_scenarios(rows))
    parts.append(_invalid(rows))
    return "\n".join(part for part in parts if part) + "</section>"


def _closed_scenarios(rows: Sequence[Row]) -> str:
    """Latency by length mix, where more than one was measured."""
    lines = []
    for row in rows:
        single = row.get("scenarios", {}).get("single_stream", {})
        if len(single) < 2:
            continue
        cells = "".join(
            f'<td class="number">{phase["latency_ms"]["p50"]:.2f} / '
            f"{phase['latency_ms']['p99']:.2f}</td>"
            for phase in single.values()
        )
        lines.append(f"<tr><td>{escape(row['variant'])}</td>{cells}</tr>")
    if not lines:
        return ""
    mixes = next(r["scenarios"]["single_stream"] for r in rows if r.get("scenarios"))
    heads = "".join(f"<th>{escape(mix)}</th>" for mix in mixes)
    return (
        "<details><summary>Latency of one client by length of the texts, p50 / p99 ms</summary>"
        f'<div class="scroll"><table><thead><tr><th>variant</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def _invalid(rows: Sequence[Row]) -> str:
    """Why a figure is missing or must not be used."""
    items = []
    for row in rows:
        phases = [
            (f"{name}, {mix}", phase)
            for name, mixes in row.get("scenarios", {}).items()
            for mix, phase in mixes.items()
        ]
        phases += [(f"{one['rate']:,.0f} requests/s", one) for one in row.get("rates", ())]
        for name, phase in phases:
            for why in phase["invalid"]:
                items.append(f"<li>{escape(row['variant'])}, {escape(name)}: {escape(why)}</li>")
        if row["variant"] != BASELINE and not row.get("slo", {"confirmed": True})["confirmed"]:
            items.append(f"<li>{escape(row['variant'])}: no rate was confirmed</li>")
    if not items:
        return ""
    return f"<details><summary>Runs that are not valid</summary><ul>{''.join(items)}</ul></details>"


# The environment


def _environment(record: Row) -> str:
    at = record["environment"]
    lines = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{_value(value)}</dd>"
        for name, value in at.items()
    )
    return f'<section><h2>How it was measured</h2><dl class="environment">{lines}</dl></section>'


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = "".join(
            f"<li>{escape(str(name))}: {escape(_short(each))}</li>" for name, each in value.items()
        )
        return f"<ul>{inner}</ul>"
    if isinstance(value, list | tuple):
        return escape(", ".join(str(each) for each in value))
    return f"<code>{escape(str(value))}</code>"


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
