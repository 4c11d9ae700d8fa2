"""The trade-off table in Markdown, and the part of the README that is made from it.

In: a `tradeoff.json`. Out: Markdown, or the README rewritten between two marks. The README shows
the committed results:

    python -m load_tests.table            # rewrite README.md from docs/results/tradeoff.json
    python -m load_tests.table --check    # exit code 1 when they differ
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from load_tests.server import ROOT
from services.errors import UsageError

Row = dict[str, Any]

BEGIN, END = "<!-- tradeoff:begin -->", "<!-- tradeoff:end -->"
README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results" / "tradeoff.json"
HEADER = (
    "model",
    "variant",
    "quality (n)",
    "agreement with full",
    "p50 ms",
    "p95 ms",
    "requests/s",
    "PSS MB",
    "disk MB",
    "parameters",
)
NONE = "-"


def table(results: dict[str, Any]) -> str:
    """One line a variant, then how it was measured."""
    lines = [HEADER, ("---", "---", *["---:"] * (len(HEADER) - 2))]
    lines += [_cells(row) for row in results["variants"]]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{body}\n\n{_notes(results)}\n"


def _cells(row: Row) -> tuple[str, ...]:
    latency = row.get("latency_ms", {})
    return (
        row["model"],
        row["variant"],
        _quality(row.get("quality")),
        _number(row.get("agreement_with_full"), ".3f"),
        _number(latency.get("p50"), ".1f"),
        _number(latency.get("p95"), ".1f"),
        _number(row.get("throughput_rps"), ",.0f"),
        _number(row.get("peak_pss_mb"), ",.0f"),
        _number(row.get("disk_mb"), ",.1f"),
        _number(row.get("parameters", 0) / 1e6 or None, ".1f", " M"),
    )


def _quality(quality: Row | None) -> str:
    if not quality:
        return NONE
    interval = ""
    if quality.get("ci_low") is not None and quality.get("ci_high") is not None:
        interval = f" [{quality['ci_low']:.3f}, {quality['ci_high']:.3f}]"
    return f"{quality['metric']} {quality['value']:.3f}{interval} ({quality['n']:,})"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return NONE if value is None else f"{value:{form}}{unit}"


def _notes(results: dict[str, Any]) -> str:
    """How the numbers came about, in words, from the record itself."""
    at = results["environment"]
    notes = [_machine(at), _method(at.get("plan"))]
    if any(row.get("transport") == "in process" for row in results["variants"]):
        notes.append(
            "`pytorch-fp32` is the full model in `transformers`, 2 threads, called in process: its"
            " numbers leave out HTTP, and its quality is that of `full`."
        )
    notes += [_speedup(one) for one in results.get("in_process", [])]
    if not at.get("validity", {}).get("idle_machine", True):
        used = at["validity"]["cpu_used_before"]
        notes.append(
            f"Other programs used {used:.0%} of the machine: measure again when it is idle."
        )
    invalid = [f"{r['model']}/{r['variant']}" for r in results["variants"] if not _valid(r)]
    if invalid:
        notes.append(
            "Requests/s of these are a lower bound (the generator used over 70 % of a core, or"
            f" requests failed): {', '.join(invalid)}."
        )
    return "\n".join(f"- {note}" for note in notes)


def _machine(at: Row) -> str:
    cpu = "; ".join([at.get("cpu", "unknown CPU"), ", ".join(at.get("cpu_flags", []))])
    return (
        f"Measured on {at.get('cores', '?')} cores ({cpu}), shared with the load generator,"
        f" by `{at.get('command', 'transfer bench')}` at commit {at.get('commit', 'unknown')}."
    )


def _method(plan: Row | None) -> str:
    single = f" for {plan['single_s']:g} s" if plan else ""
    many = f"{plan['users']} clients for {plan['saturated_s']:g} s" if plan else "several clients"
    return (
        f"p50 and p95: one client over HTTP{single}; requests/s: {many}; one text a request."
        " PSS: peak of the server's process tree under that load. Agreement: with `full`, on"
        " the sample texts of this repository, which are not the models' own field."
    )


def _speedup(one: Row) -> str:
    return (
        f"`{one['model']}` in process, same texts, one run: {one['variant']} "
        f"{one['throughput_rps']:,.0f}/s, PyTorch fp32 {one['baseline_rps']:,.0f}/s: "
        f"{one['ratio']:.1f} times."
    )


def _valid(row: Row) -> bool:
    return all(phase["valid"] for phase in row.get("load", {}).values())


def readme_with(readme: str, results: dict[str, Any]) -> str:
    """The README's text with a fresh table between the marks; raises UsageError without them."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(
            f"The README has no {BEGIN} followed by {END}; the table goes between them.",
            "Put both marks on lines of their own.",
        )
    return f"{before}{BEGIN}\n{table(results)}{END}{after}"


def read_results(path: Path) -> dict[str, Any]:
    """A trade-off record; raises UsageError when there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is not a readable record ({error}).", "Run `transfer bench`."
        ) from error


def drifted(readme: Path = README, results: Path = RESULTS) -> bool:
    """Whether the README's table is another than the results make."""
    text = readme.read_text(encoding="utf-8")
    return readme_with(text, read_results(results)) != text


def update_readme(readme: Path = README, results: Path = RESULTS) -> bool:
    """Rewrite the README's table; returns whether anything changed."""
    text = readme.read_text(encoding="utf-8")
    fresh = readme_with(text, read_results(results))
    if fresh != text:
        readme.write_text(fresh, encoding="utf-8")
    return fresh != text


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether they differ")
    parser.add_argument("--readme", type=Path, default=README)
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    if not chosen.check:
        changed = update_readme(chosen.readme, chosen.results)
        print("rewritten" if changed else "already up to date", file=sys.stderr)
        return 0
    if drifted(chosen.readme, chosen.results):
        command = "python -m load_tests.table"
        print(f"{chosen.readme} differs from {chosen.results}; run `{command}`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
