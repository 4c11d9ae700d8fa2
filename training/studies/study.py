"""Many trainings that differ in a few keys, one after the other; what is finished is not run again.

    records = run_cells(cells, Path("checkpoints/studies/curves"), rows_digest(splits), tell=print)

Each cell's figures stay in `WORK/cells/NAME.json`; its weights are removed when they are scored. A
cell that was stopped begins anew and shares nothing with others, so that its seconds are all of it.
Processor seconds stand beside those of the clock: other work on the machine does not lengthen them.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.checkpoint import METRICS_NAME
from training.finetune import finetune
from training.recipe import Recipe
from training.studies.finished import keep, kept
from training.studies.spread import spread

MEANS = ("macro_f1", "rows", "seconds", "cpu_seconds", "steps", "parameters_trained")

Record = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One training of a study.

    place: where it stands, e.g. {"way": "head", "examples": 10, "seed": 7}
    cost: how long it takes against the others, for the time that is left
    options: what a recipe takes up of it besides the strategy
    """

    place: dict[str, Any]
    recipe: Recipe
    cost: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "-".join(str(value) for value in self.place.values())


def run_cells(
    cells: Sequence[Cell],
    work: Path,
    rows: str,
    tell: Callable[[str], None] = lambda text: None,
    look: Callable[[Path], Record] = lambda checkpoint: {},
) -> list[Record]:
    """The record of every cell, in order.

    rows: the digest of the data, whose other rows make other cells; look: more figures of a
    finished checkpoint, before it is removed
    """
    started, spent, left = time.monotonic(), 0.0, sum(cell.cost for cell in cells)
    records = []
    for number, cell in enumerate(cells, 1):
        path = work / "cells" / f"{cell.name}.json"
        made_of = {"recipe": cell.recipe.digest, "rows": rows}
        left -= cell.cost
        record = kept(path, made_of)
        if record is None:
            record = keep(path, made_of, _run(cell, work / "running" / cell.name, look))
            spent += cell.cost
            minutes = (time.monotonic() - started) / spent * left / 60
            tell(
                f"{number}/{len(cells)} {cell.name}: {record['metric']} {record['value']:.4f}, "
                f"{record['seconds']:.0f} s; about {minutes:.0f} min left"
            )
        records.append({**record, "options": cell.options})
    return records


def _run(cell: Cell, folder: Path, look: Callable[[Path], Record]) -> Record:
    shutil.rmtree(folder, ignore_errors=True)
    finetune(cell.recipe, folder, progress=False)
    metrics = json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))
    test, train = metrics["test"], metrics["train"]
    record = {
        **cell.place,
        "strategy": cell.recipe.strategy,
        "metric": test["metric"],
        "value": test["value"],
        "macro_f1": test["macro_f1"],
        "n": test["n"],
        "rows": train["rows"],
        "steps": train["steps"],
        "seconds": train["wall_time_s"],
        "cpu_seconds": train["cpu_time_s"],
        "parameters_trained": train["parameters_trained"],
        **look(folder),
    }
    shutil.rmtree(folder)
    return record


def by_place(records: Sequence[Record], keys: Sequence[str]) -> dict[tuple[Any, ...], list[Record]]:
    """Records of the same place but for their seed, in order."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record[key] for key in keys), []).append(record)
    return groups


def summary(records: Sequence[Mapping[str, Any]], more: Sequence[str] = ()) -> Record:
    """Mean and spread over the seeds of one place; `more` figures by their mean."""
    first = records[0]
    return {
        "strategy": first["strategy"],
        "options": first["options"],
        "seeds": [record["seed"] for record in records],
        **spread([record["value"] for record in records]),
        **{key: statistics.fmean(record[key] for record in records) for key in (*MEANS, *more)},
    }
