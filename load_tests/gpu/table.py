"""The record of a device as Markdown, and the part of `docs/results.md` that is made from it.

python -m load_tests.gpu.table           # docs/results.md from docs/results/gpu.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.sections import with_section
from load_tests.server import ROOT

Row = dict[str, Any]

RECORD = ROOT / "docs" / "results" / "gpu.json"
DOCUMENT = ROOT / "docs" / "results.md"
SECTION = "gpu"
NONE = "-"
NOT_MEASURED = (
    "Not measured yet: no GPU was at hand. On a machine that has one the command above writes the"
    " figures here, with the device's name; [gpu.md](gpu.md) has the steps."
)
HEADER = (
    "model",
    "variant",
    "on",
    "windows x tokens",
    "windows/s",
    "unbound",
    "sorted / as they come",
    "device MB",
    "agreement with fp32 (n)",
    "quality (n)",
)


def section(record: Row | None) -> str:
    """One line a variant, at its best batch size for the longest windows; how it was measured."""
    if record is None:
        return NOT_MEASURED
    lines = [HEADER, ("---", "---", "---", *["---:"] * (len(HEADER) - 3))]
    lines += [_cells(row) for row in record["variants"]]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{body}\n\n{_notes(record)}"


def _cells(row: Row) -> tuple[str, ...]:
    if "fault" in row:
        return (row["model"], row["variant"], row["on"], row["fault"], *[NONE] * 6)
    best, mixed, memory = best_point(row["points"]), row.get("mixed"), row.get("device_mb")
    quality, agreed = row.get("quality"), row.get("agreement_with_fp32")
    return (
        row["model"],
        row["variant"],
        row["on"],
        f"{best['windows']} x {best['tokens']}" if best else NONE,
        f"{best['windows_per_s']:,.0f}" if best else NONE,
        f"{best['unbound_windows_per_s']:,.0f}"
        if best and "unbound_windows_per_s" in best
        else NONE,
        f"{mixed['sorted_windows_per_s']:,.0f} / {mixed['unsorted_windows_per_s']:,.0f}"
        if mixed
        else NONE,
        f"{memory['peak']:,.0f}" if memory else NONE,
        f"{agreed:.3f} ({row['agreement_n']})" if agreed is not None else NONE,
        f"{quality['metric']} {quality['value']:.3f} ({quality['n']:,})" if quality else NONE,
    )


def best_point(points: Sequence[Row]) -> Row | None:
    """Of the longest windows the fastest batch size; None where nothing could be run."""
    done = [point for point in points if "windows_per_s" in point]
    longest = max((point["tokens"] for point in done), default=0)
    return max(
        (point for point in done if point["tokens"] == longest),
        key=lambda point: float(point["windows_per_s"]),
        default=None,
    )


def _notes(record: Row) -> str:
    at, device = record["environment"], record["device"]
    notes = [
        f"{device['name']}, {device['memory_mb']:,} MB, compute capability {device['capability']},"
        f" driver for CUDA {device['cuda']}; {at.get('cores', '?')} cores"
        f" ({at.get('cpu', 'unknown CPU')}); {at.get('measured')}, commit"
        f" {at.get('commit', 'unknown')}, `{at.get('command')}`.",
        "windows/s: of equal windows, two calls at a time on the device, one a core on the CPU; all"
        " batch sizes and lengths are in the record. unbound: the same calls without I/O binding."
        " sorted / as they come: windows of mixed lengths in the largest batches, one call at a"
        " time. device MB: most that the variant added, without CUDA's own context. Agreement: on"
        " the sample texts of this repository.",
    ]
    if missing := record.get("without_fp16"):
        notes.append(f"No fp16 variant of {', '.join(missing)}: `transfer half` makes it.")
    return "\n".join(f"- {note}" for note in notes)


def read_record(path: Path = RECORD) -> Row | None:
    """The record; None where nothing was measured yet."""
    if not path.is_file():
        return None
    found: Row = json.loads(path.read_text(encoding="utf-8"))
    return found


def document_with(document: str, record: Row | None) -> str:
    """The document with a fresh part between the marks; raises UsageError without them."""
    return with_section(document, SECTION, section(record))


def update_document(record: Row | None, document: Path = DOCUMENT) -> None:
    text = document.read_text(encoding="utf-8")
    document.write_text(document_with(text, record), encoding="utf-8")


if __name__ == "__main__":
    update_document(read_record())
