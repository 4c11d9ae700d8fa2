"""Recipe in, full checkpoint out.

transfer train intent data=clinc150/data_oos_plus.json out=checkpoints/intent
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import set_seed

from services.errors import UsageError
from services.manifest import sha256_of
from services.tasks.kinds import Task
from training.advice import against
from training.baselines import baselines
from training.bases import WEIGHTS, ResolvedBase, resolve
from training.checkpoint import (
    Description,
    decoding_of,
    describe,
    merged,
    read_description,
    refuse_finished,
    save_checkpoint,
    task_of,
)
from training.data import load_data
from training.decoding import choose_decoding
from training.dev_score import dev_scorer
from training.evaluate import Evaluation, evaluate, run, truth_matrix
from training.features import features
from training.grow import grow
from training.held_out import decoding_rows, dev_rows
from training.models import (
    TorchRunner,
    count_parameters,
    load_model,
    refuse_too_long,
    start_at_frequencies,
    training_options,
)
from training.processes import is_main, join_processes, main_first
from training.recipe import Recipe
from training.record import Fit
from training.rows import Splits, label_names
from training.strategies import Job, apply_strategy, fit_by_strategy
from training.tokenizers import pad_like, save_tokenizer

__all__ = ["dev_scorer", "finetune"]


def finetune(
    recipe: Recipe,
    out: Path,
    progress: bool = True,
    cache: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train `recipe` and write a checkpoint to `out`, which must not hold a finished one.

    cache: folder for what frozen encoders say of texts, shared by trainings (None: of this one's)
    tell: is given what speaks against the recipe's strategy, where something was measured
    Raises UsageError (bad recipe or data), BaseError, TransferError (out is taken). Run again after
    a kill, it goes on from the last checkpoint.
    """
    refuse_finished(out)
    join_processes()
    if recipe.kind == "seq2seq":
        from training.seq2seq import finetune_seq2seq

        return finetune_seq2seq(recipe, out, progress)
    base = resolve(recipe.base)
    splits = load_data(recipe)
    labels = class_names(recipe, splits)
    out.mkdir(parents=True, exist_ok=True)
    with main_first():
        tokenizer = save_tokenizer(base.path, out)
    description = describe(recipe, base, labels)
    task = task_of(description, tokenizer)
    set_seed(recipe.seed)
    model = pad_like(starting_model(recipe, base, splits, labels), tokenizer.pad_id)
    refuse_too_long(model, recipe)
    model = apply_strategy(model, recipe)
    trainable = count_parameters(model, trainable=True)
    rows = trainable_rows(splits["train"], recipe)
    if advice := against(recipe, rows):
        tell(advice)
    dev, kept = dev_rows(splits, recipe), cache or out / "steps" / "features"
    identity = base.sha256 if not recipe.start else sha256_of(Path(recipe.start) / WEIGHTS)
    job = Job(recipe, task, features(task, rows), dev, out, identity, kept, progress)
    trained = fit_by_strategy(model, job)
    if not is_main():
        return out
    extra = baselines(recipe, splits["test"])
    return record_checkpoint(
        model, task, description, recipe, splits, trained, trainable, out, extra
    )


def label_shares(rows: Sequence[Any], labels: Sequence[str]) -> list[float]:
    """(labels,) the share of rows that have each label."""
    shares: list[float] = truth_matrix(rows, labels).mean(axis=0).tolist()
    return shares


def starting_model(recipe: Recipe, base: ResolvedBase, splits: Splits, labels: list[str]) -> Any:
    """The base with a new head, or the checkpoint `start`.

    A checkpoint with other labels lends its encoder alone: what one task taught helps the next
    (Phang et al. 2018). Raises UsageError for another kind or base.
    """
    if not recipe.start:
        model, head_is_new = pretrained(recipe, base.path, labels), True
    else:
        found = _startable(recipe, base)
        head_is_new = found.labels != labels
        options = training_options(Path(recipe.start), recipe)
        model = load_model(
            recipe.kind, Path(recipe.start), labels, ignore_mismatched_sizes=head_is_new, **options
        )
    if recipe.multi_label and head_is_new:
        start_at_frequencies(model, label_shares(splits["train"], labels))
    return model


def pretrained(recipe: Recipe, folder: Path, labels: Sequence[str] = ()) -> Any:
    """The base in `folder` with a new head, or grown into an encoder-decoder."""
    if recipe.decoder_layers:
        return grow(folder, recipe)
    return load_model(recipe.kind, folder, labels, **training_options(folder, recipe))


def _startable(recipe: Recipe, base: ResolvedBase) -> Description:
    found = read_description(Path(recipe.start))
    if (found.kind, found.base["sha256"]) != (recipe.kind, base.sha256):
        raise UsageError(
            f"start={recipe.start} is a {found.kind} checkpoint of {found.base['id']}; "
            f"expected {recipe.kind} of {base.id}.",
            "Name a checkpoint of the same kind and base, or leave `start` out.",
        )
    return found


def class_names(recipe: Recipe, splits: Splits) -> list[str]:
    if recipe.kind != "sequence-classification":
        return []
    return label_names(splits["train"], recipe.out_of_scope)


def trainable_rows(rows: Sequence[Any], recipe: Recipe) -> list[Any]:
    """Training rows; those outside of every class only where the recipe has a loss for them."""
    if not recipe.out_of_scope or recipe.out_of_scope_weight:
        return list(rows)
    return [row for row in rows if row.labels[0] != recipe.out_of_scope]


def record_checkpoint(
    model: Any,
    task: Task,
    description: Description,
    recipe: Recipe,
    splits: Splits,
    trained: Fit,
    trainable: int,
    out: Path,
    extra: dict[str, Any],
) -> Path:
    """Choose the decoding on dev, score on test, and write the checkpoint."""
    model = merged(model, out, description.base["id"])
    infer = TorchRunner(model, recipe.kind, task.tokenizer.pad_id)
    rows = decoding_rows(splits, recipe)
    found = run(task, rows, infer)
    task = choose_decoding(task, rows, *found, recipe.out_of_scope, recipe.summary_sentences)
    tested = score_test(task, splits, infer, recipe)
    described = replace(description, decoding=decoding_of(task))
    return save_checkpoint(
        model, described, recipe, tested, trained, len(splits["train"]), trainable, out, extra
    )


def score_test(task: Task, splits: Splits, infer: TorchRunner, recipe: Recipe) -> Evaluation:
    return evaluate(task, splits["test"], infer, recipe.out_of_scope, recipe.summary_sentences)
