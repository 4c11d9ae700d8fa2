"""The trade-off table in Markdown, as the README shows it.

In: a record. Out: one line a variant, then how it was measured. Written by `load_tests.publish`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from load_tests.report.record import BASELINE, valid

Row = dict[str, Any]

NONE = "-"
SERVED = "distilled-int8"


def table(results: Row) -> str:
    """The table and its notes."""
    lines = [tuple(COLUMNS), ("---", "---", *["---:"] * (len(COLUMNS) - 2))]
    lines += [tuple(cell(row) for cell in COLUMNS.values()) for row in results["variants"]]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{body}\n\n{_notes(results)}\n"


def _quality(row: Row) -> str:
    quality = row.get("quality")
    if not quality:
        return NONE
    interval = ""
    if quality.get("ci_low") is not None and quality.get("ci_high") is not None:
        interval = f" [{quality['ci_low']:.3f}, {quality['ci_high']:.3f}]"
    return f"{quality['metric']} {quality['value']:.3f}{interval} ({quality['n']:,})"


def _number(form: str, *names: str, unit: str = "", times: float = 1.0) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        found: Any = row
        for name in names:
            found = (found or {}).get(name)
        return NONE if found is None else f"{found * times:{form}}{unit}"

    return cell


COLUMNS: dict[str, Callable[[Row], str]] = {
    "model": lambda row: str(row["model"]),
    "variant": lambda row: str(row["variant"]),
    "quality (n)": _quality,
    "agreement with full": _number(".3f", "agreement_with_full"),
    "p50 ms": _number(".1f", "latency_ms", "p50"),
    "p99 ms": _number(".1f", "latency_ms", "p99"),
    "requests/s at SLO": _number(",.0f", "max_rps_at_slo"),
    "offline/s": _number(",.0f", "throughput_rps"),
    "PSS MB": _number(",.0f", "peak_pss_mb"),
    "disk MB": _number(",.1f", "disk_mb"),
    "parameters": _number(".1f", "parameters", unit=" M", times=1e-6),
}


def _notes(results: Row) -> str:
    """How the numbers came about, in words, from the record itself."""
    at = results["environment"]
    notes = [_machine(at), _method(at.get("plan") or {})]
    if any(row["variant"] == BASELINE for row in results["variants"]):
        notes.append(
            f"`{BASELINE}` is the full model in `transformers`, 2 threads, called in process: its"
            " p50 and p99 leave out HTTP, and its quality is that of `full`."
        )
    notes += _against_torch(results["variants"])
    if not at.get("validity", {}).get("idle_machine", True):
        used = at["validity"]["cpu_used_before"]
        notes.append(
            f"Other programs used {used:.0%} of the machine: measure again when it is idle."
        )
    invalid = [f"{row['model']}/{row['variant']}" for row in results["variants"] if not valid(row)]
    if invalid:
        notes.append(
            "Not valid in part, because the generator fell behind or no rate was confirmed: "
            f"{', '.join(invalid)}."
        )
    return "\n".join(f"- {note}" for note in notes)


def _against_torch(rows: list[Row]) -> list[str]:
    """What the variant that is served by default does in process, beside PyTorch."""
    rates = {(row["model"], row["variant"]): row.get("throughput_rps") for row in rows}
    return [
        f"`{model}` in process, same texts: {SERVED} {rates[model, SERVED]:,.0f}/s, PyTorch fp32 "
        f"{torch:,.0f}/s: {rates[model, SERVED] / torch:.1f} times."
        for (model, variant), torch in rates.items()
        if variant == BASELINE and torch and rates.get((model, SERVED))
    ]


def _machine(at: Row) -> str:
    cpu = "; ".join([at.get("cpu", "unknown CPU"), ", ".join(at.get("cpu_flags", []))])
    return (
        f"Measured on {at.get('cores', '?')} cores ({cpu}), shared with the load generator,"
        f" by `{at.get('command', 'transfer bench')}` at commit {at.get('commit', 'unknown')}."
    )


def _method(plan: Row) -> str:
    single = f" for {plan['single_s']:.3g} s" if plan else ""
    target = f" {plan['p99_ms']:g} ms" if "p99_ms" in plan else ""
    return (
        f"p50 and p99: one client over HTTP{single}; requests/s at SLO: the highest rate of random"
        f" arrivals whose p99 is within{target or ' the target'}, confirmed by a second run;"
        " offline: in process; PSS: peak of the server's process tree under that load."
    )
