"""The labelled data of a recipe, read, checked and split.

    splits = load_data(recipe)      # {"train": [...], "dev": [...], "test": [...]}

Formats are in `training.formats`, rows in `training.rows`; every bad row is reported with its file,
line and reason, all of them at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.errors import UsageError
from training.formats import read_source
from training.recipe import Recipe, extra_recipe, load_recipe
from training.rows import DataError, Document, Splits, label_names, list_faults, parse_all
from training.splits import complete_splits, few_examples, sample, with_null_questions

ROOT = Path(__file__).parent.parent


def load_data(recipe: Recipe) -> Splits:
    """Read the recipe's data and split it; raises DataError or UsageError.

    The training and dev rows of its `extra_data` stand behind its own; the test rows are its own.
    """
    splits = _own_splits(recipe)
    for name in recipe.extra_data:
        extra = _extra_splits(name, recipe)
        for split in ("train", "dev"):
            splits[split] = [*splits[split], *extra[split]]
    return splits


def _extra_splits(name: str, recipe: Recipe) -> Splits:
    """The rows of one more data set, each with the summary length that its own recipe gives it."""
    extra = extra_recipe(recipe, name)
    try:
        splits = _own_splits(extra)
    except UsageError as error:
        raise type(error)(
            f"extra_data of recipe {recipe.name}: {error.message}",
            f"Say where it lies, `extra_data={{{name}: PATH}}`, or do without: `extra_data={{}}`.",
        ) from error
    if recipe.kind != "sentence-extraction":
        return splits
    return {
        split: [replace(row, summary_sentences=_length(row, extra)) for row in rows]
        for split, rows in splits.items()
    }


def _length(row: Document, recipe: Recipe) -> int:
    return recipe.summary_sentences or max(1, len(row.key))


def _own_splits(recipe: Recipe) -> Splits:
    if not recipe.data:
        raise UsageError(f"Recipe {recipe.name} names no data.", "Add `data=PATH` or a hub id.")
    faults: list[str] = []
    found = {
        split: parse_all(records, recipe, faults) for split, records in read_source(recipe).items()
    }
    if faults:
        raise DataError(list_faults(faults), "Mend these rows; nothing was trained.")
    splits = complete_splits(found, recipe)
    if recipe.derive:
        from training.principal import principal_documents

        splits = {split: principal_documents(rows) for split, rows in splits.items()}
    if recipe.kind == "sequence-classification":
        _refuse_unseen_labels(splits, recipe.out_of_scope)
    _refuse_nothing_to_learn(splits["train"], recipe)
    if recipe.null_ratio:
        splits["train"] = with_null_questions(splits["train"], recipe.null_ratio, recipe.rows_seed)
        splits["dev"] = with_null_questions(splits["dev"], recipe.null_ratio, recipe.rows_seed)
    if recipe.examples_per_class:
        few = few_examples(splits["train"], recipe.examples_per_class, recipe.rows_seed)
        splits["train"] = few
    limits = {"train": recipe.train_rows, "dev": recipe.dev_rows, "test": recipe.test_rows}
    return {split: sample(splits[split], most, recipe.rows_seed) for split, most in limits.items()}


SAMPLES = {
    "sequence-classification": "sample-tickets",
    "question-answering": "sample-manuals",
    "sentence-extraction": "sample-incidents",
    "seq2seq": "sample-headlines",
}


def sample_rows(kind: str, at_most: int = 120) -> list[Any]:
    """Rows of the sample data that ships: what graphs are verified on."""
    recipe = load_recipe(SAMPLES[kind])
    splits = load_data(replace(recipe, data=str(ROOT / recipe.data)))
    return sample([row for rows in splits.values() for row in rows], at_most, recipe.rows_seed)


def rows_for(kind: str, path: Path, multi_label: bool = False) -> list[Any]:
    """Every row of a labelled file, for scoring a model on data of the user's own.

    Fields are named text and label (labels for several), question/context/answers, or
    sentences/key/references.
    """
    recipe = Recipe(name=path.stem, kind=kind, data=str(path), multi_label=multi_label)
    if not path.exists():
        raise UsageError(f"{path} does not exist.", "Give a labelled file with `--data PATH`.")
    return every_row(recipe)


def every_row(recipe: Recipe) -> list[Any]:
    """The rows of the recipe's data, whatever their split; raises DataError with all bad ones."""
    faults: list[str] = []
    rows = [
        row
        for records in read_source(recipe).values()
        for row in parse_all(records, recipe, faults)
    ]
    if faults:
        raise DataError(list_faults(faults), "Mend these rows.")
    return rows


def _refuse_unseen_labels(splits: Splits, out_of_scope: str) -> None:
    known = set(label_names(splits["train"]))
    for split in ("dev", "test"):
        counts = Counter(label for row in splits[split] for label in row.labels)
        unseen = sorted(set(counts) - known - {out_of_scope})
        if unseen:
            listed = ", ".join(f"{label!r} ({counts[label]} rows)" for label in unseen[:10])
            raise DataError(
                f"Labels seen only in {split}: {listed}; expected every label in train.",
                "Add training rows for them, or remove them.",
            )


def _refuse_nothing_to_learn(rows: Sequence[Any], recipe: Recipe) -> None:
    """Raise DataError where training could only learn to give one answer always."""
    if recipe.kind == "sequence-classification":
        names = label_names(rows, recipe.out_of_scope)
        if len(names) < (1 if recipe.multi_label else 2):
            raise DataError(
                f"{recipe.data} has the labels {names} alone; expected at least two.",
                "Check `columns`, or add rows of other labels.",
            )
    if recipe.kind == "sentence-extraction" and not any(row.key for row in rows):
        raise DataError(
            f"{recipe.data} marks no key sentence; expected `key` or `marks` in its rows.",
            "Mark them, or train with `kind: seq2seq`, which learns from references.",
        )
    if recipe.kind == "question-answering" and not any(row.answers for row in rows):
        raise DataError(f"{recipe.data} answers none of its questions.", "Add answers.")
