"""New classes for a finished classifier, without forgetting the old ones.

    transfer add-class checkpoints/intent --data new.csv --method distill

    replay   everything moves, on the new rows and some rows of each old class
    distill  the same, and the old model says what of the old classes it sees in every text
             (learning without forgetting, Li & Hoiem 2016)
    head     only the head moves, on the same rows: the whole classifier, old classes and new, and
             a pooler

The new checkpoint brings along the rows that it learned from and is judged on, in `OUT/data`, so
that it can be exported, distilled, and given the next class. One that lost more of the old classes
than is allowed does not become a checkpoint: `OUT/refused.json` tells why.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from services.errors import TransferError, UsageError
from services.manifest import sha256_of
from services.tasks.kinds import Task
from training.bases import WEIGHTS
from training.checkpoint import (
    Description,
    first_decoding,
    read_description,
    refuse_finished,
    task_of,
    write_json,
)
from training.data import load_data
from training.distill import TEACHER
from training.evaluate import Evaluation, evaluate, paired_loss
from training.features import Feature, features
from training.finetune import dev_scorer, record_checkpoint, save_tokenizer, trainable_rows
from training.fit import fit
from training.formats import read_source
from training.held_out import dev_rows
from training.models import (
    TorchRunner,
    classifier_of,
    count_parameters,
    load_model,
    training_options,
)
from training.recipe import Recipe, load_recipe, parse_overrides, parse_recipe
from training.rows import DataError, LabelledText, Splits, label_names, list_faults, parse_all
from training.splits import complete_splits
from training.strategies import apply_strategy
from training.teacher import TeacherOutputs, teacher_outputs

METHODS = ("replay", "distill", "head")
EVERY_ROW = -1  # of the old classes
DATA = "data"  # folder of the rows, in the checkpoint
REFUSED_NAME = "refused.json"
ADDITION_NAME = "addition.json"
DEFAULTS = {"epochs": 3.0, "alpha": 0.5, "temperature": 2.0}  # where no key says otherwise
OF_NEW_DATA = ("columns", "splits", "split_column", "skip_column", "label_names", "data_config")
OF_OLD_DATA = (*OF_NEW_DATA, "extra_data", "derive", "start", "unlabelled")

Report = dict[str, Any]


@dataclass(frozen=True)
class Addition:
    """What is added to which checkpoint.

    data: rows of the new classes; old: where the rows of the old classes lie (empty: where the
        checkpoint's recipe says)
    replay: training rows of each old class that are read again (EVERY_ROW: all)
    max_loss: points of accuracy on the old classes that may be lost
    keys: `key=value` of the recipe; columns and splits are those of `data`
    """

    checkpoint: Path
    data: str
    method: str = "distill"
    replay: int = 10
    old: str = ""
    max_loss: float = 1.0
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(
                f"method is {self.method!r}; expected one of {', '.join(METHODS)}.",
                "E.g. `--method distill`.",
            )
        if self.replay < EVERY_ROW:
            raise UsageError(
                f"replay is {self.replay}; expected a number of rows for each old class.",
                "E.g. `--replay 10`; -1 takes all of them.",
            )


def add_class(addition: Addition, out: Path, progress: bool = True) -> Report:
    """Train on, judge old and new classes, and write the checkpoint to `out`; returns the report.

    Raises UsageError (rows or checkpoint do not fit), TransferError when more than `max_loss`
    points of the old classes were lost, or when `out` is finished. After a kill it goes on.
    """
    refuse_finished(out)
    parent = _extendable(addition.checkpoint)
    old_recipe = _old_recipe(addition, parent)
    old = load_data(old_recipe)
    _refuse_other_labels(old, old_recipe, parent)
    new = _new_splits(addition, old_recipe, parent)
    splits = _joined(old, new, addition.replay, old_recipe)
    recipe = _recipe(addition, old_recipe, out / DATA)
    labels = [*parent.labels, *label_names(new["train"], recipe.out_of_scope)]
    out.mkdir(parents=True, exist_ok=True)
    _claim(addition, out)
    write_rows(out / DATA, splits)
    tokenizer = save_tokenizer(addition.checkpoint, out)
    description = _describe(parent, recipe, labels)
    task = task_of(description, tokenizer)
    windows = features(task, trainable_rows(splits["train"], recipe))
    taught = _taught(addition, recipe, windows, tokenizer.pad_id, out)
    set_seed(recipe.seed)
    model = apply_strategy(with_more_labels(addition.checkpoint, labels, recipe), recipe)
    trainable = count_parameters(model, trainable=True)
    scorer = dev_scorer(task, dev_rows(splits, recipe), recipe)
    trained = fit(model, windows, recipe, out, scorer, tokenizer.pad_id, taught, progress)
    report = {
        "method": addition.method,
        "replay": addition.replay,
        "replayed_rows": len(splits["train"]) - len(new["train"]),
        "new_rows": len(new["train"]),
        "new_labels": labels[len(parent.labels) :],
        **_judged(addition, task_of(parent, tokenizer), task, model, recipe, old, new),
    }
    _refuse_forgetting(report, addition, out)
    record_checkpoint(
        model, task, description, recipe, splits, trained, trainable, out, {"add_class": report}
    )
    return {**report, "train": trained.record()}


def _claim(addition: Addition, out: Path) -> None:
    """Remember whose steps lie in `out`; raises UsageError for those of another addition."""
    path = out / ADDITION_NAME
    mine = {key: str(value) for key, value in asdict(addition).items() if key != "max_loss"}
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != mine:
        raise UsageError(
            f"{out} holds an unfinished addition with other settings.",
            "Use the same ones, choose another folder with `out=DIR`, or remove it.",
        )
    write_json(path, mine)


# Rows


def _old_recipe(addition: Addition, parent: Description) -> Recipe:
    """The one that it was trained with; of what `transfer build` made, the preset of its name."""
    keys = [f"data={addition.old}"] if addition.old else []
    path = addition.checkpoint / "recipe.yaml"
    return load_recipe(path if path.is_file() else parent.model, keys)


def _refuse_other_labels(old: Splits, recipe: Recipe, parent: Description) -> None:
    found = label_names(old["train"], recipe.out_of_scope)
    if set(found) != set(parent.labels):
        differing = sorted(set(found) ^ set(parent.labels))
        raise UsageError(
            f"{recipe.data} has other classes than {parent.model} knows: "
            f"{', '.join(differing[:10])}.",
            "Say where the rows lie that it was trained on: `--old PATH`.",
        )


def _new_splits(addition: Addition, old: Recipe, parent: Description) -> Splits:
    """Like `load_data`, but a single class will do."""
    overrides = parse_overrides(addition.keys)
    named = {key: overrides[key] for key in OF_NEW_DATA if key in overrides}
    values = {"name": old.name, "kind": old.kind, "data": addition.data, "seed": old.rows_seed}
    reading = parse_recipe({**values, **named}, addition.data)
    faults: list[str] = []
    found = {
        split: parse_all(records, reading, faults)
        for split, records in read_source(reading).items()
    }
    if faults:
        raise DataError(list_faults(faults), "Mend these rows; nothing was trained.")
    splits = complete_splits(found, reading)
    names = {split: set(label_names(rows, old.out_of_scope)) for split, rows in splits.items()}
    known = sorted(set().union(*names.values()) & set(parent.labels))
    if known:
        raise UsageError(
            f"{addition.data} has rows of {', '.join(known[:10])}, which {parent.model} knows.",
            "Leave them out; more rows of old classes are for `transfer train start=CHECKPOINT`.",
        )
    unseen = sorted((names["dev"] | names["test"]) - names["train"])
    if unseen or not names["train"]:
        raise DataError(
            f"{addition.data} has no training row of {', '.join(unseen) or 'any new class'}.",
            "Give each new class some.",
        )
    return splits


def _joined(old: Splits, new: Splits, replay: int, recipe: Recipe) -> Splits:
    """All rows that judge, and of the old training rows some of each class."""
    kept = replayed(old["train"], replay, recipe.rows_seed)
    return {
        "train": [*kept, *new["train"]],
        "dev": [*old["dev"], *new["dev"]],
        "test": [*old["test"], *new["test"]],
    }


def replayed(rows: Sequence[LabelledText], each: int, seed: int) -> list[LabelledText]:
    """At most `each` rows of every label, drawn by the seed, in their old order."""
    if each == EVERY_ROW:
        return list(rows)
    order = random.Random(seed).sample(range(len(rows)), len(rows))
    taken: dict[tuple[str, ...], list[int]] = {}
    for index in order:
        mine = taken.setdefault(rows[index].labels, [])
        if len(mine) < each:
            mine.append(index)
    return [rows[index] for index in sorted(i for mine in taken.values() for i in mine)]


def write_rows(folder: Path, splits: Splits) -> None:
    """One JSONL file a split, which every recipe of this kind reads as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        lines = [
            json.dumps({"text": row.text, "label": row.labels[0]}, ensure_ascii=False)
            for row in rows
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


# Model


def _extendable(checkpoint: Path) -> Description:
    found = read_description(checkpoint)
    if found.kind != "sequence-classification" or found.decoding.get("multi_label"):
        kind = "a classifier of several labels" if found.decoding.get("multi_label") else found.kind
        raise UsageError(
            f"{checkpoint} is {kind}; expected a classifier with one label for each text.",
            "Rows of an old task say nothing of a new label there: train it anew.",
        )
    return found


def _recipe(addition: Addition, old: Recipe, data: Path) -> Recipe:
    """The old one on the joined rows, with half its rate; `keys` go over all of it."""
    plain = Recipe(name="", kind="")
    unset = {key: getattr(plain, key) for key in OF_OLD_DATA}
    made = {
        **asdict(old),
        **unset,
        **DEFAULTS,
        "data": str(data),
        "learning_rate": old.learning_rate / 2,
        "strategy": "head" if addition.method == "head" else "full",
        "hidden_weight": 0.0,
        "relation_weight": 0.0,
        "max_steps": 0,
        **{f"{split}_rows": 0 for split in ("train", "dev", "test")},
    }
    overrides = parse_overrides(addition.keys)
    mine = {key: value for key, value in overrides.items() if key not in OF_NEW_DATA}
    return parse_recipe({**made, **mine}, "add-class")


def _describe(parent: Description, recipe: Recipe, labels: list[str]) -> Description:
    licence, attribution = recipe.credits
    return replace(
        parent,
        model=recipe.name,
        labels=labels,
        recipe_digest=recipe.digest,
        max_tokens=recipe.max_tokens,
        decoding=first_decoding(recipe),
        licence=licence,
        attribution=attribution,
    )


def with_more_labels(checkpoint: Path, labels: Sequence[str], recipe: Recipe) -> Any:
    """The checkpoint's model with more classes; the old ones, the first, stay as they were."""
    options = training_options(checkpoint, recipe)
    old = load_model(recipe.kind, checkpoint)
    model = load_model(recipe.kind, checkpoint, labels, **options)
    theirs, ours = classifier_of(old, old.config.num_labels), classifier_of(model, len(labels))
    with torch.no_grad():
        ours.weight[: len(theirs.weight)] = theirs.weight
        if ours.bias is not None:
            ours.bias[: len(theirs.bias)] = theirs.bias
    return model


def _taught(
    addition: Addition, recipe: Recipe, windows: Sequence[Feature], pad_id: int, out: Path
) -> TeacherOutputs | None:
    """What the old model says of every text, where it is to be kept."""
    if addition.method != "distill":
        return None
    model = load_model(recipe.kind, addition.checkpoint)
    identity = sha256_of(addition.checkpoint / WEIGHTS)
    return teacher_outputs(
        model, recipe.kind, identity, windows, pad_id, out / TEACHER, bf16=recipe.bf16
    )


# Judgement


def _judged(
    addition: Addition,
    old_task: Task,
    task: Task,
    model: Any,
    recipe: Recipe,
    old: Splits,
    new: Splits,
) -> Report:
    """Accuracy of the old classes before and after, of the new ones, and of all, in scope."""
    pad_id = task.tokenizer.pad_id
    before = TorchRunner(load_model(recipe.kind, addition.checkpoint), recipe.kind, pad_id)
    after = TorchRunner(model, recipe.kind, pad_id)
    rows = {
        (age, split): [row for row in found[split] if row.labels[0] != recipe.out_of_scope]
        for age, found in (("old", old), ("new", new))
        for split in ("dev", "test")
    }
    once = evaluate(old_task, rows["old", "test"], before)
    test, dev = (
        evaluate(task, [*rows["old", split], *rows["new", split]], after)
        for split in ("test", "dev")
    )
    count, dev_count = len(rows["old", "test"]), len(rows["old", "dev"])
    now = part(test, 0, count)
    loss, low, high = paired_loss(once, now)
    return {
        "old_before": once.record(),
        "old_after": now.record(),
        "old_loss": {"value": loss, "ci_low": low, "ci_high": high},
        "new": part(test, count, test.n).record(),
        "all": test.record(),
        "dev": {
            "old": part(dev, 0, dev_count).value,
            "new": part(dev, dev_count, dev.n).value,
            "all": dev.value,
        },
    }


def part(found: Evaluation, start: int, end: int) -> Evaluation:
    """The same answers, rows `start` to `end` alone."""
    return Evaluation(
        found.metric,
        end - start,
        lambda indices: found.measure(indices + start),
        found.answers[start:end],
    )


def _refuse_forgetting(report: Report, addition: Addition, out: Path) -> None:
    """Raise TransferError, and leave no checkpoint, when too much of the old classes was lost."""
    points = 100 * report["old_loss"]["value"]
    path = out / REFUSED_NAME
    if points <= addition.max_loss:
        path.unlink(missing_ok=True)
        return
    write_json(path, {**report, "max_loss": addition.max_loss})
    raise TransferError(
        f"{addition.method} lost {points:.1f} points of the old classes ("
        f"{report['old_before']['value']:.4f} to {report['old_after']['value']:.4f}); at most "
        f"{addition.max_loss:g} may be lost. Nothing was published; {path} has the figures.",
        "Replay more rows (`--replay`), distill, or allow more with `--max-loss`: the training is "
        "kept and is not run again.",
        code="forgot",
    )
