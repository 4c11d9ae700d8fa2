"""Teacher checkpoint in, distilled checkpoint out; beside it the same student without its teacher.

    transfer distill intent-distilled teacher=checkpoints/intent data=PATH

The student is built from chosen layers of the teacher and learns its softened outputs (Hinton et
al. 2015). The control has the same shape, the same layers of the *base*, the same steps and seed,
and labels alone; `metrics.json` holds both and says which won.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import set_seed

from services.errors import UsageError
from services.manifest import sha256_of
from services.tasks.kinds import Task
from training.bases import WEIGHTS, resolve
from training.checkpoint import (
    CONTROL,
    FIT_NAME,
    Description,
    comparison,
    first_decoding,
    read_description,
    refuse_finished,
    save_control,
    task_of,
)
from training.data import Splits, load_data
from training.decoding import choose_decoding
from training.evaluate import Evaluation, run
from training.features import Feature, features
from training.finetune import (
    class_names,
    dev_scorer,
    label_shares,
    record_checkpoint,
    save_tokenizer,
    score_test,
    trainable_rows,
)
from training.fit import fit
from training.held_out import dev_rows
from training.models import (
    TorchRunner,
    build_student,
    count_parameters,
    load_model,
    refuse_too_long,
    start_at_frequencies,
    training_options,
)
from training.processes import refuse_several
from training.recipe import Recipe
from training.strategies import apply_strategy
from training.teacher import teacher_outputs


def distill(
    recipe: Recipe, teacher_folder: Path, out: Path, progress: bool = True, control: bool = True
) -> Path:
    """Train a student of the checkpoint in `teacher_folder` and write it to `out`.

    Raises UsageError when recipe and teacher do not fit, TransferError when `out` is finished.
    """
    refuse_finished(out)
    refuse_several("Distillation")
    recipe = replace(recipe, strategy="full")  # the teacher's may be another; a student moves whole
    parent = read_description(teacher_folder)
    _refuse_misfit(recipe, parent, teacher_folder)
    if recipe.kind == "seq2seq":
        from training.seq2seq import distill_seq2seq

        return distill_seq2seq(recipe, teacher_folder, out, progress, control)
    splits = load_data(recipe)
    _refuse_new_labels(splits, parent, recipe)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = save_tokenizer(teacher_folder, out)
    identity = sha256_of(teacher_folder / WEIGHTS)
    description = _describe_student(recipe, parent, identity)
    task = task_of(description, tokenizer)
    windows = features(task, trainable_rows(splits["train"], recipe))
    teacher = load_model(recipe.kind, teacher_folder, **training_options(teacher_folder, recipe))
    refuse_too_long(teacher, recipe)
    student = build_student(teacher, recipe.student_layers)
    known = teacher_outputs(
        teacher,
        recipe.kind,
        identity,
        windows,
        tokenizer.pad_id,
        out / "teacher",
        hidden=recipe.hidden_weight > 0,
        bf16=recipe.bf16,
    )
    scorer = dev_scorer(task, dev_rows(splits, recipe), recipe)
    student = apply_strategy(student, recipe)
    trainable = count_parameters(student, trainable=True)
    set_seed(recipe.seed)
    trained = fit(student, windows, recipe, out, scorer, tokenizer.pad_id, known, progress)
    plain = (
        train_control(recipe, parent, task, windows, splits, out / CONTROL, progress)
        if control
        else None
    )
    comparison = _compare(recipe, teacher, student, plain, task, splits, out)
    return record_checkpoint(
        student, task, description, recipe, splits, trained, trainable, out, comparison
    )


def _refuse_misfit(recipe: Recipe, teacher: Description, folder: Path) -> None:
    if recipe.kind != teacher.kind:
        raise UsageError(
            f"{folder} is a {teacher.kind} checkpoint; recipe {recipe.name} is for {recipe.kind}.",
            "Name a teacher of the same kind.",
        )
    if recipe.start:
        raise UsageError(
            f"Recipe {recipe.name} has start={recipe.start}; a student starts from its teacher.",
            "Leave `start` out, or name that checkpoint as the teacher.",
        )
    taught_several = bool(teacher.decoding.get("multi_label", False))
    if recipe.multi_label != taught_several:
        raise UsageError(
            f"multi_label is {recipe.multi_label}; {folder} was trained with {taught_several}.",
            f"Set `multi_label={taught_several}`, or name another teacher.",
        )
    if not recipe.student_layers:
        raise UsageError(
            f"Recipe {recipe.name} has no student_layers.", "E.g. `student_layers=[0,2,5]`."
        )


def _refuse_new_labels(splits: Splits, teacher: Description, recipe: Recipe) -> None:
    new = sorted(set(class_names(recipe, splits)) - set(teacher.labels))
    if new:
        raise UsageError(
            f"{recipe.data} has labels that the teacher never saw: {', '.join(new[:10])}.",
            "Distill on the teacher's own data, or train a teacher on this.",
        )


def _describe_student(recipe: Recipe, parent: Description, identity: str) -> Description:
    return replace(
        parent,
        role="distilled",
        parent=identity,
        layers=recipe.student_layers,
        recipe_digest=recipe.digest,
        max_tokens=recipe.max_tokens,
        decoding=first_decoding(recipe),
    )


def train_control(
    recipe: Recipe,
    parent: Description,
    task: Task,
    windows: Sequence[Feature],
    splits: Splits,
    folder: Path,
    progress: bool,
) -> Any:
    """The same student without its teacher: same depth and steps, from the base, labels alone.

    Its weights and `fit.json` stay in `folder`, so that a resumed distillation reads them.
    """
    if (folder / FIT_NAME).is_file():
        return load_model(recipe.kind, folder)
    set_seed(recipe.seed)
    source = resolve(parent.base_source).path
    base = load_model(recipe.kind, source, parent.labels, **training_options(source, recipe))
    if recipe.multi_label:
        start_at_frequencies(base, label_shares(splits["train"], parent.labels))
    model = apply_strategy(build_student(base, recipe.student_layers), recipe)
    scorer = dev_scorer(task, dev_rows(splits, recipe), recipe)
    trained = fit(model, windows, recipe, folder, scorer, task.tokenizer.pad_id, progress=progress)
    save_control(model, trained, folder)
    return model


def _compare(
    recipe: Recipe,
    teacher: Any,
    student: Any,
    control: Any | None,
    task: Task,
    splits: Splits,
    out: Path,
) -> dict[str, Any]:
    """Test scores of teacher, student and control on the same rows."""
    taught = _tested(recipe, student, task, splits)
    full = _tested(recipe, teacher, task, splits)
    plain = None if control is None else _tested(recipe, control, task, splits)
    return {"distillation": comparison(recipe, taught, full, plain, out)}


def _tested(recipe: Recipe, model: Any, task: Task, splits: Splits) -> Evaluation:
    infer = TorchRunner(model, recipe.kind, task.tokenizer.pad_id)
    rows = dev_rows(splits, recipe)
    found = run(task, rows, infer)
    chosen = choose_decoding(task, rows, *found, recipe.out_of_scope, recipe.summary_sentences)
    return score_test(chosen, splits, infer, recipe)
