"""Teacher checkpoint in, distilled checkpoint out; beside it the same student without its teacher.

    transfer distill intent-distilled teacher=checkpoints/intent data=PATH

The student is built from chosen layers of the teacher and learns its softened outputs (Hinton et
al. 2015); of several teachers (`teacher=A,B`) from the first one's layers and their mean outputs.
The control has the same shape, the same layers of the *base*, the same steps and seed, and labels
alone; `metrics.json` holds both and says which won, where the test rows tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import set_seed

from services.errors import UsageError
from services.manifest import sha256_of
from services.tasks.classify import Classify
from services.tasks.kinds import Task
from services.windows import TextTokenizer
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
from training.data import load_data
from training.decoding import choose_decoding
from training.evaluate import Evaluation, run
from training.features import Feature, features, unlabelled_features
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
from training.record import Fit
from training.rows import Splits
from training.strategies import apply_strategy
from training.teacher import Ensemble, Joined, Taught, teacher_outputs
from training.unlabelled import unlabelled_texts

TEACHER = "teacher"  # folder of the teacher's outputs


@dataclass(frozen=True)
class Lesson:
    """What all students of the same recipe's data and teachers share.

    teacher: the first one, which lends its layers; description: of the student to be
    windows: for training, the unlabelled ones behind the `labelled` ones
    """

    teacher: Any
    parent: Description
    description: Description
    task: Task
    splits: Splits
    windows: list[Feature]
    labelled: int
    taught: Taught


def distill(
    recipe: Recipe,
    teachers: Path | Sequence[Path],
    out: Path,
    progress: bool = True,
    control: bool = True,
) -> Path:
    """Train a student of one teacher checkpoint, or of several, and write it to `out`.

    Raises UsageError when recipe and teacher do not fit, TransferError when `out` is finished.
    """
    refuse_finished(out)
    refuse_several("transfer distill")
    folders = _folders(teachers)
    recipe = as_student(recipe, folders[0])
    if recipe.kind == "seq2seq":
        from training.seq2seq import distill_seq2seq

        _refuse_ensemble(recipe, folders)
        _refuse_misfit(recipe, read_description(folders[0]), folders[0])
        return distill_seq2seq(recipe, folders[0], out, progress, control)
    lesson = prepare(recipe, folders, out / TEACHER)
    out.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folders[0], out)
    student, trained, trainable = teach(lesson, recipe, out, progress)
    plain = (
        train_control(lesson, control_recipe(recipe, trained.steps), out / CONTROL, progress)
        if control
        else None
    )
    found = _compare(lesson, recipe, student, plain, out)
    found["distillation"]["teachers"] = len(folders)
    return record_checkpoint(
        student,
        lesson.task,
        lesson.description,
        recipe,
        lesson.splits,
        trained,
        trainable,
        out,
        found,
    )


def distilled_dev_score(
    recipe: Recipe,
    teachers: Path | Sequence[Path],
    out: Path,
    cache: Path,
    progress: bool = False,
) -> float:
    """The best dev score of a student of `recipe`: what a search for its settings goes by.

    No control, no test rows. cache: the teacher's outputs, for all trials; in `out` lie the steps,
    from which a stopped trial goes on.
    """
    folders = _folders(teachers)
    recipe = as_student(recipe, folders[0])
    lesson = prepare(recipe, folders, cache)
    return teach(lesson, recipe, out, progress)[1].best_dev


def as_student(recipe: Recipe, teacher: Path) -> Recipe:
    """A student moves whole, whatever strategy is named, and pools as its teacher does."""
    return replace(recipe, strategy="full", pooling=read_description(teacher).pooling)


def prepare(recipe: Recipe, teachers: Sequence[Path], cache: Path) -> Lesson:
    """Rows, windows and what the teachers say of them, which is kept in `cache`."""
    parent = common_parent(recipe, teachers)
    splits = load_data(recipe)
    _refuse_new_labels(splits, parent, recipe)
    identities = [sha256_of(folder / WEIGHTS) for folder in teachers]
    tokenizer = TextTokenizer.load(teachers[0] / "tokenizer.json")
    description = _describe_student(recipe, parent, identities[0])
    task = task_of(description, tokenizer)
    windows = features(task, trainable_rows(splits["train"], recipe))
    extra: list[Feature] = []
    if recipe.unlabelled and isinstance(task, Classify):
        extra = unlabelled_features(task, unlabelled_texts(recipe, splits))
    said, models = [], []
    for folder, identity in zip(teachers, identities, strict=True):
        model = load_model(recipe.kind, folder, **training_options(folder, recipe))
        refuse_too_long(model, recipe)
        said.append(_outputs(model, identity, recipe, windows, extra, tokenizer.pad_id, cache))
        models.append(model)
    taught: Taught = said[0]
    if len(said) > 1:
        taught = Ensemble(said, recipe.kind, recipe.multi_label, recipe.temperature)
    return Lesson(
        models[0], parent, description, task, splits, [*windows, *extra], len(windows), taught
    )


def _outputs(
    teacher: Any,
    identity: str,
    recipe: Recipe,
    windows: Sequence[Feature],
    extra: Sequence[Feature],
    pad_id: int,
    cache: Path,
) -> Taught:
    """Of the labelled windows and of the others apart: students without the others share them."""
    parts = [part for part in (windows, extra) if part]
    known = [
        teacher_outputs(
            teacher,
            recipe.kind,
            identity,
            part,
            pad_id,
            cache,
            hidden=recipe.hidden_weight > 0,
            bf16=recipe.bf16,
            relations=recipe.relation_weight > 0,
        )
        for part in parts
    ]
    return known[0] if len(known) == 1 else Joined(known, [len(part) for part in parts])


def teach(lesson: Lesson, recipe: Recipe, out: Path, progress: bool = True) -> tuple[Any, Fit, int]:
    """(student, what its training did, parameters that moved); its steps are kept in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    task = lesson.task
    student = apply_strategy(build_student(lesson.teacher, recipe.student_layers), recipe)
    trainable = count_parameters(student, trainable=True)
    scorer = dev_scorer(task, dev_rows(lesson.splits, recipe), recipe)
    set_seed(recipe.seed)
    pad_id = task.tokenizer.pad_id
    trained = fit(student, lesson.windows, recipe, out, scorer, pad_id, lesson.taught, progress)
    return student, trained, trainable


def control_recipe(recipe: Recipe, steps: int) -> Recipe:
    """What the same student does without a teacher, in as many steps as the student took."""
    return replace(recipe, unlabelled="", max_steps=steps) if recipe.unlabelled else recipe


def train_control(lesson: Lesson, recipe: Recipe, folder: Path, progress: bool) -> Any:
    """The same student without its teacher: same depth and steps, from the base, labels alone.

    Its weights and `fit.json` stay in `folder`, so that a resumed distillation reads them.
    """
    if (folder / FIT_NAME).is_file():
        return load_model(recipe.kind, folder)
    model, trained = untaught(lesson, recipe, folder, progress)
    save_control(model, trained, folder)
    return model


def untaught(lesson: Lesson, recipe: Recipe, out: Path, progress: bool) -> tuple[Any, Fit]:
    """Train the control; its steps are kept in `out`."""
    set_seed(recipe.seed)
    source, labels = resolve(lesson.parent.base_source).path, lesson.parent.labels
    base = load_model(recipe.kind, source, labels, **training_options(source, recipe))
    if recipe.multi_label:
        start_at_frequencies(base, label_shares(lesson.splits["train"], labels))
    model = apply_strategy(build_student(base, recipe.student_layers), recipe)
    task, windows = lesson.task, lesson.windows[: lesson.labelled]
    scorer = dev_scorer(task, dev_rows(lesson.splits, recipe), recipe)
    trained = fit(model, windows, recipe, out, scorer, task.tokenizer.pad_id, progress=progress)
    return model, trained


# What is refused


def _folders(teachers: Path | Sequence[Path]) -> list[Path]:
    return [teachers] if isinstance(teachers, Path) else list(teachers)


def common_parent(recipe: Recipe, teachers: Sequence[Path]) -> Description:
    """The first teacher; raises UsageError where one does not fit the recipe or the others."""
    if recipe.kind == "seq2seq":
        raise UsageError(
            f"Recipe {recipe.name} is for seq2seq, which learns from written summaries.",
            "Only students that learn from softened outputs are tried and searched.",
        )
    descriptions = [read_description(folder) for folder in teachers]
    for description, folder in zip(descriptions, teachers, strict=True):
        _refuse_misfit(recipe, description, folder)
    _refuse_ensemble(recipe, teachers)
    first = descriptions[0]
    for description, folder in zip(descriptions[1:], teachers[1:], strict=True):
        if (description.labels, description.base["sha256"]) != (first.labels, first.base["sha256"]):
            raise UsageError(
                f"{folder} has other labels or another base than {teachers[0]}.",
                "Several teachers are trained by one recipe, e.g. with other seeds.",
            )
    return first


def _refuse_ensemble(recipe: Recipe, teachers: Sequence[Path]) -> None:
    """What only one teacher can give."""
    if len(teachers) < 2:
        return
    inner = recipe.hidden_weight or recipe.relation_weight
    if recipe.kind == "seq2seq" or inner:
        found = "hidden_weight or relation_weight" if inner else "seq2seq"
        raise UsageError(
            f"{len(teachers)} teachers and {found}: only their outputs have a mean.",
            "Name one teacher, or set those weights to 0.",
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


# Scores


def _compare(
    lesson: Lesson, recipe: Recipe, student: Any, control: Any | None, out: Path
) -> dict[str, Any]:
    """Test scores of the (first) teacher, student and control on the same rows."""
    taught = tested(lesson, recipe, student)
    full = tested(lesson, recipe, lesson.teacher)
    plain = None if control is None else tested(lesson, recipe, control)
    return {"distillation": comparison(recipe, taught, full, plain, out)}


def tested(lesson: Lesson, recipe: Recipe, model: Any) -> Evaluation:
    """On the test rows, decoded as suits the dev rows."""
    infer = TorchRunner(model, recipe.kind, lesson.task.tokenizer.pad_id)
    return score_test(decoded(lesson, recipe, infer), lesson.splits, infer, recipe)


def decoded(lesson: Lesson, recipe: Recipe, infer: TorchRunner) -> Task:
    rows = dev_rows(lesson.splits, recipe)
    found = run(lesson.task, rows, infer)
    return choose_decoding(lesson.task, rows, *found, recipe.out_of_scope, recipe.summary_sentences)
