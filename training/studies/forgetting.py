"""What each way of adding classes forgets: a classifier of some classes is given the others.

    transfer results add-class data=clinc150/data_oos_plus.json new=10

The recipe is trained without `new` of its classes, drawn by the seed; then every way of
`training.add_class` adds them. What is finished is not trained again; another recipe, other rows or
another `new` have a folder of their own.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.errors import UsageError
from training.add_class import EVERY_ROW, Addition, add_class, write_rows
from training.checkpoint import METRICS_NAME, write_json
from training.data import load_data
from training.finetune import finetune
from training.recipe import Recipe
from training.rows import Splits, digest, label_names
from training.studies.finished import rows_digest
from training.studies.spread import seeds_of, spread

REPORT_NAME = "report.json"
NEVER = 100.0  # points that may be lost: here nothing is refused

Entry = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """replay: rows of each old class; keys: of the recipe"""

    name: str
    method: str
    replay: int
    keys: tuple[str, ...] = ()


# The first is the control, the last what all of the old rows are worth.
WAYS = (
    Way("new rows alone", "replay", 0),
    Way("head, replay 10", "head", 10, ("learning_rate=1e-3",)),
    Way("replay 5", "replay", 5),
    Way("replay 20", "replay", 20),
    Way("distill", "distill", 0),
    Way("distill, replay 5", "distill", 5),
    Way("distill, replay 20", "distill", 20),
    Way("every old row, one epoch", "replay", EVERY_ROW, ("epochs=1",)),
)


def run_ways(
    recipe: Recipe,
    new: int,
    seeds: int,
    out: Path,
    ways: Sequence[Way] = WAYS,
    advance: Callable[[str, Entry], None] = lambda name, record: None,
    progress: bool = True,
) -> Entry:
    """The record of all ways; told of each, with the record of those that every seed has."""
    splits = load_data(recipe)
    names = label_names(splits["train"], recipe.out_of_scope)
    if not 0 < new < len(names) - 1:
        raise UsageError(
            f"new is {new}; expected 1 to {len(names) - 2} of {len(names)} classes.", "E.g. new=10."
        )
    numbers = [recipe.seed + i for i in range(seeds)]
    out = out / digest(f"{recipe.digest} {rows_digest(splits)} {new}")[:8]
    found: list[tuple[Way, list[Entry]]] = []
    for way in ways:
        reports = [_report(way, recipe, splits, new, seed, out, progress) for seed in numbers]
        found.append((way, reports))
        advance(way.name, _record(recipe, len(names), new, numbers, found))
    return _record(recipe, len(names), new, numbers, found)


def drawn(names: Sequence[str], count: int, seed: int) -> list[str]:
    """The classes that come later."""
    return sorted(random.Random(seed).sample(list(names), count))


def _report(
    way: Way, recipe: Recipe, splits: Splits, new: int, seed: int, out: Path, progress: bool
) -> Entry:
    """Of one way and seed; its weights are not kept."""
    folder = out / str(seed) / way.name.replace(", ", "-").replace(" ", "-")
    path = folder / REPORT_NAME
    if not path.is_file():
        base = _base(recipe, splits, new, seed, out / str(seed), progress)
        keys = ("evaluations=1", f"seed={seed}", *way.keys)
        data = str(out / str(seed) / "new")
        if _finished(folder):
            shutil.rmtree(folder / "checkpoint")
        addition = Addition(base, data, way.method, way.replay, "", NEVER, keys)
        report = add_class(addition, folder / "checkpoint", progress)
        write_json(path, report)
        shutil.rmtree(folder / "checkpoint")
    entry: Entry = json.loads(path.read_text(encoding="utf-8"))
    return entry


def _finished(folder: Path) -> bool:
    """Killed after the checkpoint and before the report."""
    return (folder / "checkpoint" / METRICS_NAME).is_file()


def _base(recipe: Recipe, splits: Splits, new: int, seed: int, out: Path, progress: bool) -> Path:
    """The recipe without the classes that come later, whose rows lie in `OUT/new` then."""
    later = set(drawn(label_names(splits["train"], recipe.out_of_scope), new, seed))
    checkpoint = out / "before"
    if not (checkpoint / METRICS_NAME).is_file():
        for name, wanted in (("old", False), ("new", True)):
            rows = {
                split: [row for row in found if (row.labels[0] in later) is wanted]
                for split, found in splits.items()
            }
            write_rows(out / name, rows)
        plain = replace(recipe, columns={}, splits={}, data_config="", split_column="")
        finetune(replace(plain, data=str(out / "old"), seed=seed), checkpoint, progress)
    return checkpoint


# The record


def _record(
    recipe: Recipe,
    classes: int,
    new: int,
    seeds: Sequence[int],
    found: Sequence[tuple[Way, list[Entry]]],
) -> Entry:
    return {
        "model": recipe.name,
        "data": recipe.data_attribution or Path(recipe.data).name,
        "old_classes": classes - new,
        "new_classes": new,
        **seeds_of(seeds),
        "rows": [_row(way, reports) for way, reports in found],
    }


def _row(way: Way, reports: Sequence[Entry]) -> Entry:
    first = reports[0]
    parts = ("old_before", "old_after", "new", "all")
    return {
        "way": way.name,
        "method": way.method,
        "replayed_rows": first["replayed_rows"],
        "new_rows": first["new_rows"],
        "new_labels": [report["new_labels"] for report in reports],
        "steps": first["train"]["steps"],
        "wall_time_s": first["train"]["wall_time_s"],
        "n": {part: first[part]["n"] for part in parts},
        **{part: spread([report[part]["value"] for report in reports]) for part in parts},
        "intervals": [
            {part: [report[part]["ci_low"], report[part]["ci_high"]] for part in parts}
            for report in reports
        ],
        "old_loss": {
            name: sum(report["old_loss"][name] for report in reports) / len(reports)
            for name in ("value", "ci_low", "ci_high")
        },
        "dev": {
            name: sum(report["dev"][name] for report in reports) / len(reports)
            for name in ("old", "new", "all")
        },
    }
