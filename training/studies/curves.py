"""Learning curves: each strategy with 1, 10, 50 and all examples a class.

    transfer results curves data=banking77

All ways have the same base, pooling and head. Nothing is chosen on dev: the last step is scored,
and the rates are the same for every number of examples. Each seed draws other examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.errors import UsageError
from services.tasks.zeroshot import ZeroShot, ZeroShotSettings
from services.windows import TextTokenizer
from training.bases import resolve
from training.data import load_data
from training.models import TorchRunner, load_model
from training.recipe import Recipe
from training.rows import label_names
from training.studies.finished import rows_digest
from training.studies.spread import ENOUGH
from training.studies.study import Cell, Record, by_place, run_cells, summary

ALL = 0  # examples a class
SEED = 7
SEEDS = {1: 3, 10: 3, 50: 2, ALL: 1}
WHY_FEWER = (
    "where a training takes minutes on two cores, and luck counts less than with few examples"
)


@dataclass(frozen=True)
class Way:
    """One line of the plot.

    options: what makes it that strategy, which `transfer train` advises; settings: how it is
    trained besides; cost: of a row read once, against full tuning
    """

    strategy: str
    options: dict[str, Any]
    settings: dict[str, Any]
    epochs: Mapping[int, float]
    cost: float


PASSES = {1: 20.0, 10: 10.0, 50: 4.0, ALL: 3.0}
OF_A_HEAD = {1: 100.0, 10: 60.0, 50: 40.0, ALL: 30.0}  # cached features: a second or two each
OF_PAIRS = {1: 5.0, 10: 3.0, 50: 1.0, ALL: 1.0}  # a row comes twice
DEEP = {"learning_rate": 3e-4, "head_learning_rate": 3e-3}

WAYS = {
    "scratch": Way("scratch", {}, DEEP, PASSES, 1.2),
    "head": Way("head", {}, {"learning_rate": 3e-3}, OF_A_HEAD, 0.05),
    "last_2": Way("last_n", {"last_layers": 2}, DEEP, PASSES, 0.6),
    "gradual": Way("gradual", {}, DEEP, PASSES, 0.9),
    "lora": Way("lora", {}, {**DEEP, "learning_rate": 1e-3}, PASSES, 1.2),
    "full": Way("full", {}, DEEP, PASSES, 1.0),
    "two_stage": Way("two_stage", {}, {**DEEP, "head_epochs": 20.0}, PASSES, 1.1),
    "contrastive": Way("contrastive", {"learning_rate": 3e-5}, {}, OF_PAIRS, 2.0),
    "prototypes": Way("prototypes", {}, {}, dict.fromkeys(PASSES, 1.0), 0.1),
}


def measure_curves(
    recipe: Recipe,
    work: Path,
    ways: Sequence[str] = tuple(WAYS),
    sizes: Sequence[int] = tuple(SEEDS),
    seeds: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Run what is not finished below `work`; the record of all cells.

    sizes: examples a class, 0: all; seeds: for every size (0: as `SEEDS` says)
    """
    splits = load_data(recipe)
    labels = label_names(splits["train"], recipe.out_of_scope)
    count = len(splits["train"])
    counts = {size: seeds or SEEDS.get(size, 1) for size in sizes}
    cells = [
        _cell(recipe, way, size, SEED + i, len(labels), count)
        for size in sizes
        for way in ways
        for i in range(counts[size])
    ]
    records = run_cells(cells, work, rows_digest(splits), tell)
    rows = [
        {"way": way, "examples": size, **summary(found)}
        for (way, size), found in by_place(records, ("way", "examples")).items()
    ]
    for row in rows:
        row["rows_per_class"] = row["rows"] / len(labels)
    test = [row for row in splits["test"] if row.labels[0] != recipe.out_of_scope]
    return {
        "data": recipe.data_attribution or recipe.name,
        "base": recipe.base,
        "labels": len(labels),
        "metric": records[0]["metric"],
        "n": records[0]["n"],
        "seeds": {str(size): seeds for size, seeds in counts.items()},
        "why_fewer_seeds": WHY_FEWER if min(counts.values()) < ENOUGH else "",
        "zero_shot": zero_shot(recipe, labels, test),
        "rows": rows,
    }


def chosen_ways(text: str) -> list[str]:
    """`head,full` to names; all of them for an empty text."""
    names = [name for name in text.split(",") if name]
    unknown = sorted(set(names) - set(WAYS))
    if unknown:
        raise UsageError(f"ways: {', '.join(unknown)} unknown.", f"Choose of {', '.join(WAYS)}.")
    return names or list(WAYS)


def chosen_sizes(text: str) -> list[int]:
    """`1,10,all` to numbers."""
    names = [name for name in text.split(",") if name]
    wrong = [name for name in names if name != "all" and not (name.isdecimal() and int(name))]
    if wrong:
        raise UsageError(f"sizes: {', '.join(wrong)} is no number of examples.", "E.g. 1,10,all.")
    return [ALL if name == "all" else int(name) for name in names] or list(SEEDS)


def _cell(recipe: Recipe, name: str, size: int, seed: int, labels: int, count: int) -> Cell:
    way = WAYS[name]
    rows = min(count, size * labels) if size else count
    epochs = _epochs(way, size)
    changes = {
        "strategy": way.strategy,
        **way.options,
        **way.settings,
        "examples_per_class": size,
        "epochs": epochs,
        "batch_size": 16 if rows < 2000 else 32,
        "seed": seed,
        "data_seed": seed,
        "evaluations": 1,
    }
    place = {"way": name, "examples": size, "seed": seed}
    test_cost = 1500.0  # scoring dev and test, in rows of a training
    cost = test_cost + rows * epochs * way.cost
    return Cell(place, replace(recipe, **changes), cost, way.options)


def _epochs(way: Way, size: int) -> float:
    """As measured sizes have it: of the largest that is not larger."""
    if size == ALL:
        return way.epochs[ALL]
    return way.epochs[max(known for known in way.epochs if known and known <= size)]


def zero_shot(recipe: Recipe, labels: Sequence[str], rows: Sequence[Any]) -> Record:
    """Accuracy by the names of the labels alone, as `/classify` answers with `labels`."""
    base = resolve(recipe.base)
    names = {label.replace("_", " "): label for label in labels}
    settings = ZeroShotSettings(labels=list(names), max_tokens=recipe.max_tokens)
    task = ZeroShot(TextTokenizer.load(base.path / "tokenizer.json"), settings)
    infer = TorchRunner(load_model("zero-shot", base.path), "zero-shot", task.tokenizer.pad_id)
    first = task.encode(rows[0].text)
    task.decode(first, infer(first.windows))  # from now on it knows the labels
    encoded = [task.encode(row.text) for row in rows]
    flat = iter(infer([window for item in encoded for window in item.windows]))
    right = 0
    for row, item in zip(rows, encoded, strict=True):
        answer = task.decode(item, [next(flat) for _ in item.windows])
        right += names[answer["label"]] == row.labels[0]
    return {"metric": "accuracy", "value": right / len(rows), "n": len(rows)}
