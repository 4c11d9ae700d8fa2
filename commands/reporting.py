"""What tells how good the models are: cards, errors, results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from commands import costs, places, studies, trials
from commands.base import checkpoint_recipe, number, settings_of, show, verb
from commands.building import measured
from services.settings import Settings

ONE_TRAINING = "the models that ship are of one training each"


def add(verbs: Any) -> None:
    cards = verb(verbs, "cards", run_cards, "measure the adapters and write their cards anew")
    cards.add_argument("data", type=Path, help="folder with the data that export/cards.yaml names")
    cards.add_argument("models", nargs="*", help="only these models")

    errors = verb(verbs, "errors", run_errors, "show the rows that a published model gets wrong")
    errors.add_argument("model", help="a preset's name")
    errors.add_argument(
        "settings", nargs="*", metavar="key=value", help="variant=full, most=20, data=PATH, any key"
    )

    results = verb(verbs, "results", run_results, "measure what docs/results.md shows")
    results.add_argument("name", choices=(*MEASURES, "tables"))
    results.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="data=PATH; ways: checkpoint=, loras=DIR; distillation: teacher=DIR[,DIR], "
        "recipe=, seeds=1, factors=NAME,..., unlabelled=PATH, out=DIR; add-class: recipe=, new=10, "
        "seeds=1, out=DIR; curves: ways=, sizes=1,10,all, seeds=, recipe=, out=DIR; "
        "imbalance: seeds=, recipe=, out=DIR; growing: recipe=, out=DIR; "
        "efficiency, throughput: recipe=, seeds=3, out=DIR; any key",
    )


def run_cards(options: argparse.Namespace) -> None:
    from export.cards import rewrite_cards
    from training.data import sample_rows

    def advance(key: str) -> None:
        print(f"{key}: measured", file=sys.stderr)

    cards = rewrite_cards(
        places.ADAPTERS,
        options.data,
        places.WORK / "pack",
        sample_rows,
        options.models,
        advance=advance,
    )
    human = "\n".join(f"{key:24} {measured(card)}" for key, card in cards.items())
    show(options, cards, human)


def run_errors(options: argparse.Namespace) -> None:
    from export.errors import find_variant, shown, worst_rows
    from training.held_out import exam
    from training.recipe import load_recipe

    own, keys = settings_of(options.settings, "variant", "most")
    most, variant = number("most", own.get("most", "20")), own.get("variant", "distilled-int8")
    runtime = find_variant(Settings.from_environment().lock, options.model, variant)
    faults = worst_rows(runtime, exam(load_recipe(options.model, keys)), most)
    show(options, {"errors": faults}, shown(faults))


def run_results(options: argparse.Namespace) -> None:
    from export.results import DOCUMENT, write_result, write_tables

    if options.name == "tables":
        write_tables()
        show(options, {"document": str(DOCUMENT)}, str(DOCUMENT))
        return
    command = {"command": studies.command_of(options.name, options.settings)}
    found = MEASURES[options.name](options.settings)
    path = write_result(options.name, {**command, **_where(), **found})
    show(options, {"record": str(path)}, str(path))


def _where() -> dict[str, Any]:
    """Where a record was measured."""
    from load_tests.environment import environment

    return {"environment": environment()}


def _published(settings: Sequence[str]) -> dict[str, Any]:
    from export.published import MODEL, measure_published
    from training.held_out import exam
    from training.recipe import load_recipe
    from training.studies.spread import seeds_of

    recipe = load_recipe(MODEL, settings)
    found = exam(recipe)
    record = measure_published(Settings.from_environment().lock, found.rows, found.out_of_scope)
    return {**record, **seeds_of([recipe.seed], ONE_TRAINING)}


def _ways(settings: Sequence[str]) -> dict[str, Any]:
    from export.ways import compare_ways, find_loras
    from training.held_out import exam
    from training.studies.spread import seeds_of

    own, keys = settings_of(settings, "checkpoint", "loras")
    checkpoint = Path(own.get("checkpoint") or places.CHECKPOINTS / "intent")
    loras = find_loras(Path(own["loras"])) if own.get("loras") else []
    recipe = checkpoint_recipe(checkpoint, keys)
    found = exam(recipe)

    def advance(way: str) -> None:
        print(f"{way}: measured", file=sys.stderr)

    record = compare_ways(checkpoint, loras, places.WORK / "ways", found, advance=advance)
    return {**record, **seeds_of([recipe.seed], "one training of each, and losses are paired")}


MEASURES: dict[str, Callable[[Sequence[str]], dict[str, Any]]] = {
    "published": _published,
    "ways": _ways,
    "distillation": trials.distillation,
    "add-class": trials.add_class,
    "curves": studies.curves,
    "imbalance": studies.imbalance,
    "growing": studies.growing,
    "efficiency": costs.efficiency,
    "throughput": costs.throughput,
}
