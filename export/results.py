"""Measured records in `docs/results/`, and the tables of `docs/results.md` that are made of them.

write_result("ways", record)     # the file, its plot, and its table
write_tables()                   # all tables again, from the files
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import published, ways
from export.sections import with_section, write_section
from export.tables import (
    curves,
    distillation,
    efficiency,
    forgetting,
    growing,
    remedies,
    seeds,
    throughput,
)
from services.errors import UsageError
from services.settings import ROOT
from training.checkpoint import write_json

DOCUMENT = ROOT / "docs" / "results.md"
FOLDER = ROOT / "docs" / "results"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """file: of the record; table: Markdown from it; plot: SVG from it, beside the file"""

    file: str
    table: Callable[[Record], str]
    plot: Callable[[Record], str] | None = None


RESULTS = {
    "published": Result("clinc150-published.json", published.table, published.plot),
    "ways": Result("ways-to-ship.json", ways.table, ways.plot),
    "efficiency": Result("efficiency.json", efficiency.table, efficiency.plot),
    "throughput": Result("throughput.json", throughput.table, throughput.plot),
    "distillation": Result("distillation.json", distillation.table, distillation.plot),
    "add-class": Result("add-class.json", forgetting.table, forgetting.plot),
    "growing": Result("growing.json", growing.table, growing.plot),
    "seeds": Result("seeds.json", seeds.table, seeds.plot),
    "curves": Result("curves.json", curves.table, curves.plot),
    "imbalance": Result("imbalance.json", remedies.table, remedies.plot),
}


def write_result(
    name: str, record: Record, folder: Path = FOLDER, document: Path = DOCUMENT
) -> Path:
    """Write a record, its plot and its table; returns the record's path."""
    path = folder / RESULTS[name].file
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, record)
    _write_plot(name, record, folder)
    write_section(document, name, section(name, record))
    return path


def _write_plot(name: str, record: Record, folder: Path) -> None:
    if plot := RESULTS[name].plot:
        _plot_path(name, folder).write_text(plot(record), encoding="utf-8")


def _plot_path(name: str, folder: Path) -> Path:
    return (folder / RESULTS[name].file).with_suffix(".svg")


def section(name: str, record: Record) -> str:
    """The part of the document: a table, and its plot under it."""
    result = RESULTS[name]
    if result.plot is None:
        return result.table(record)
    picture = f"![{name}](results/{Path(result.file).with_suffix('.svg').name})"
    return f"{result.table(record)}\n\n{picture}"


def read_result(name: str, folder: Path = FOLDER) -> Record | None:
    """The record; None where nothing was measured yet."""
    path = folder / RESULTS[name].file
    if not path.is_file():
        return None
    try:
        found: Record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(
            f"{path} is not a record ({error}).", f"Run `transfer results {name}`."
        ) from error
    return found


def fresh(folder: Path = FOLDER, document: Path = DOCUMENT) -> str:
    """The document as the records make it."""
    text = document.read_text(encoding="utf-8")
    for name in RESULTS:
        if record := read_result(name, folder):
            text = with_section(text, name, section(name, record))
    return text


def write_tables(folder: Path = FOLDER, document: Path = DOCUMENT) -> None:
    document.write_text(fresh(folder, document), encoding="utf-8")
    for name in RESULTS:
        if record := read_result(name, folder):
            _write_plot(name, record, folder)
