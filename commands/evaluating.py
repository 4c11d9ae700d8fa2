"""What tells everything about one model: `transfer evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import places
from commands.base import checkpoint_recipe, settings_of, show, verb
from services.errors import UsageError
from services.settings import Settings

ROWS = ("test", "all")


def add(verbs: Any) -> None:
    evaluate = verb(verbs, "evaluate", run_evaluate, "every figure of one model on labelled rows")
    evaluate.add_argument("subject", help="a checkpoint's folder, or MODEL/VARIANT as published")
    evaluate.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="data=PATH, rows=all, slice=COLUMN, against=SUBJECT, recipe=, out=DIR, any key",
    )


def run_evaluate(options: argparse.Namespace) -> None:
    from export.evaluation import (
        evaluate_subject,
        find_subject,
        refuse_other_rows,
        report_name,
        write_report,
    )
    from load_tests.environment import environment
    from training.held_out import all_rows, exam
    from training.metrics.slices import group_of_rows
    from training.metrics.table import table

    own, keys = settings_of(options.settings, "slice", "against", "rows", "recipe", "out")
    if own.get("rows", "test") not in ROWS:
        raise UsageError(f"rows is {own['rows']!r}; expected test or all.", "E.g. rows=all.")
    lock = Settings.from_environment().lock
    subject = find_subject(options.subject, lock)
    other = find_subject(own["against"], lock) if own.get("against") else None
    recipe = _recipe_of(options.subject, own.get("recipe", ""), keys)
    found = all_rows(recipe) if own.get("rows") == "all" else exam(recipe)
    for one in (subject, other):
        if one is not None:
            refuse_other_rows(one, found)
    columns = [column for column in own.get("slice", "").split(",") if column]
    groups = {column: group_of_rows(recipe, found.rows, column) for column in columns}
    result = evaluate_subject(subject, found, groups, other)
    result.record.update({"baselines": found.baselines, "environment": environment()})
    folder = Path(own.get("out") or places.REPORTS / "evaluation")
    path = write_report(report_name(subject), result, folder)
    show(options, {"report": str(path), **result.record}, f"{table(result.record)}\n\n{path}")


def _recipe_of(subject: str, recipe: str, keys: Sequence[str]) -> Any:
    """The recipe whose data judges a subject: the one named, a checkpoint's own, or the preset."""
    from training.recipe import load_recipe

    if recipe:
        return load_recipe(recipe, keys)
    if (Path(subject) / "recipe.yaml").is_file():
        return checkpoint_recipe(Path(subject), keys)
    return load_recipe(subject.partition("/")[0], keys)
