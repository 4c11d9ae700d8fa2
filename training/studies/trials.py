"""Distillation trials: one factor at a time around a recipe, each student beside its control.

    transfer results distillation data=clinc150/data_oos_plus.json teacher=checkpoints/intent

A cell is a folder whose `cell.json` comes last; what is finished is not trained again, and what was
stopped goes on. Dev rows choose; test rows are scored beside them and choose nothing. The teacher's
outputs are computed once for all cells, and a control serves all cells of its shape and steps.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig

from services.errors import UsageError
from services.manifest import sha256_of
from training.bases import WEIGHTS
from training.checkpoint import write_json
from training.distill import (
    TEACHER,
    Lesson,
    as_student,
    control_recipe,
    decoded,
    prepare,
    teach,
    untaught,
)
from training.evaluate import Evaluation, evaluate, paired_loss
from training.held_out import dev_rows
from training.models import TorchRunner, count_parameters
from training.recipe import Recipe
from training.rows import digest
from training.studies.spread import seeds_of, spread
from training.unlabelled import DERIVED

CELL_NAME = "cell.json"
TEMPERATURES = (1.0, 2.0, 4.0)
ALPHAS = (0.5, 0.8, 1.0)
LOSS_WEIGHTS = (0.0, 1.0)
LONGER = 2  # times the recipe's epochs
DEPTHS = (1, 2, 3, 4)
MEANS = ("accuracy", "f1", "rouge1")  # metrics that are a mean over rows
FACTORS = (
    "temperature",
    "alpha",
    "hidden_weight",
    "epochs",
    "depth",
    "unlabelled",
    "relation",
    "ensemble",
)

Entry = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """What is tried around `recipe`, and with which data besides its own.

    teachers: the first one is everybody's; all of them together are the ensemble
    unlabelled: a source of texts for the factor of that name, besides derived ones
    """

    recipe: Recipe
    teachers: tuple[Path, ...]
    seeds: int = 1
    factors: tuple[str, ...] = FACTORS
    unlabelled: str = ""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.factors) - set(FACTORS))
        if unknown:
            raise UsageError(
                f"factors names {', '.join(unknown)}; expected some of {', '.join(FACTORS)}.",
                "E.g. factors=temperature,alpha.",
            )
        if self.recipe.kind == "seq2seq":
            raise UsageError(
                f"Recipe {self.recipe.name} is for seq2seq, which learns from written summaries.",
                "Trials are for students that learn from softened outputs.",
            )
        if self.seeds < 1:
            raise UsageError(f"seeds is {self.seeds}; expected at least 1.", "E.g. seeds=3.")


@dataclass(frozen=True)
class Cell:
    """One value of one factor; changes: recipe keys; teachers: how many teach"""

    factor: str
    value: str
    changes: Mapping[str, Any]
    teachers: int = 1


CENTRE = Cell("recipe", "as it is", {})


def grid(trial: Trial) -> list[Cell]:
    """The recipe as it is, and every other value of every factor that is asked for."""
    cells = [cell for factor in trial.factors for cell in _cells(factor, trial)]
    return [CENTRE, *cells]


def _cells(factor: str, trial: Trial) -> list[Cell]:
    recipe = trial.recipe
    plain: dict[str, tuple[str, Sequence[Any]]] = {
        "temperature": ("temperature", TEMPERATURES),
        "alpha": ("alpha", ALPHAS),
        "hidden_weight": ("hidden_weight", LOSS_WEIGHTS),
        "relation": ("relation_weight", LOSS_WEIGHTS),
        "epochs": ("epochs", (recipe.epochs, recipe.epochs * LONGER)),
        "unlabelled": ("unlabelled", ("", DERIVED, *filter(None, [trial.unlabelled]))),
    }
    if factor == "depth":
        own, teacher = recipe.student_layers, _depth(trial.teachers[0])
        return [
            Cell(factor, str(depth), {"student_layers": spaced_layers(depth, teacher)})
            for depth in DEPTHS
            if depth != len(own) and depth < teacher
        ]
    if factor == "ensemble":
        several = len(trial.teachers)
        return [Cell(factor, f"{several} teachers", {}, several)] if several > 1 else []
    key, values = plain[factor]
    others = [value for value in values if value != getattr(recipe, key)]
    return [Cell(factor, _shown(value), {key: value}) for value in others]


def own_value(factor: str, recipe: Recipe) -> str:
    """What the recipe itself has of a factor."""
    if factor == "depth":
        return str(len(recipe.student_layers))
    if factor == "ensemble":
        return "1 teacher"
    return _shown(getattr(recipe, "relation_weight" if factor == "relation" else factor))


def _shown(value: Any) -> str:
    """Of a path its file and folder, and no more of this machine."""
    if isinstance(value, str):
        return "/".join(Path(value).parts[-2:]) or "none"
    return f"{value:g}"


def _depth(teacher: Path) -> int:
    return int(AutoConfig.from_pretrained(teacher).num_hidden_layers)


def spaced_layers(depth: int, of: int) -> list[int]:
    """`depth` layers of `of`, evenly spread, the first and the last among them."""
    return [int(layer) for layer in np.linspace(0, of - 1, depth).round()]


def run_trials(
    trial: Trial,
    out: Path,
    advance: Callable[[str, Entry], None] = lambda name, record: None,
    progress: bool = True,
) -> Entry:
    """Train all cells below `out`; returns the record.

    advance: told of every cell that was trained now, with the record of all that is finished
    """
    run = _Run(trial, out, progress)
    for cell in grid(trial):
        if run.finished(cell):
            continue
        for seed in run.seeds:
            run.student(cell, seed)
            run.control(cell, seed)
        advance(f"{cell.factor} {cell.value}", collect(run))
    return collect(run)


class _Run:
    """Trains cells and reads those that are finished."""

    def __init__(self, trial: Trial, out: Path, progress: bool) -> None:
        self.trial = trial
        self.out = out
        self.progress = progress
        self.seeds = [trial.recipe.seed + i for i in range(trial.seeds)]
        self._identities = [sha256_of(folder / WEIGHTS) for folder in trial.teachers]

    def recipe(self, cell: Cell, seed: int) -> Recipe:
        """Other seeds see the same rows."""
        own = self.trial.recipe
        fixed = {"seed": seed, "data_seed": own.rows_seed}
        return as_student(replace(own, **{**cell.changes, **fixed}), self.trial.teachers[0])

    def folder(self, name: str, recipe: Recipe, teachers: int) -> Path:
        """Named by all that it depends on: the cells of another recipe or teacher are not read."""
        known = [recipe.digest, Path(recipe.data).name, *self._identities[:teachers]]
        slug = "-".join(name.replace("/", " ").split())
        return self.out / str(recipe.seed) / f"{slug}-{digest(' '.join(known))[:8]}"

    def student(self, cell: Cell, seed: int) -> Entry:
        recipe, folder = self.recipe(cell, seed), self._student_folder(cell, seed)

        def train() -> Entry:
            lesson = self._lesson(recipe, cell.teachers)
            model, trained, _ = teach(lesson, recipe, folder, self.progress)
            return {**_judged(lesson, recipe, model), "train": trained.record()}

        return _once(folder, train)

    def control(self, cell: Cell, seed: int) -> Entry:
        """Of the same shape and as many steps; what only concerns a teacher does not count."""
        recipe, folder = self._control_of(cell, seed)

        def train() -> Entry:
            lesson = self._lesson(recipe, 1)
            model, trained = untaught(lesson, recipe, folder, self.progress)
            return {**_judged(lesson, recipe, model), "train": trained.record()}

        return _once(folder, train)

    def teacher(self) -> Entry:
        recipe = self.recipe(CENTRE, self.seeds[0])
        folder = self.folder(TEACHER, without_teacher(recipe, 0), 1)

        def score() -> Entry:
            lesson = self._lesson(recipe, 1)
            return _judged(lesson, recipe, lesson.teacher)

        return _once(folder, score)

    def finished(self, cell: Cell) -> bool:
        """With every seed, and so are the controls."""
        return all(
            (self._student_folder(cell, seed) / CELL_NAME).is_file()
            and (self._control_of(cell, seed)[1] / CELL_NAME).is_file()
            for seed in self.seeds
        )

    def _student_folder(self, cell: Cell, seed: int) -> Path:
        name = f"{cell.factor} {cell.value}"
        return self.folder(name, self.recipe(cell, seed), cell.teachers)

    def _control_of(self, cell: Cell, seed: int) -> tuple[Recipe, Path]:
        """Its recipe and folder; the student is finished."""
        steps = self.student(cell, seed)["train"]["steps"]
        recipe = without_teacher(self.recipe(cell, seed), steps)
        return recipe, self.folder(f"control {_layers(recipe)}", recipe, 0)

    def _lesson(self, recipe: Recipe, teachers: int) -> Lesson:
        return prepare(recipe, self.trial.teachers[:teachers], self.out / TEACHER)


def without_teacher(recipe: Recipe, steps: int) -> Recipe:
    """The control's recipe; `steps` count where an epoch of the student has more texts."""
    plain = control_recipe(recipe, steps)
    return replace(
        plain,
        temperature=Recipe.temperature,
        alpha=Recipe.alpha,
        hidden_weight=0.0,
        relation_weight=0.0,
    )


def _layers(recipe: Recipe) -> str:
    return " ".join(map(str, recipe.student_layers))


def _once(folder: Path, make: Callable[[], Entry]) -> Entry:
    """What `cell.json` holds; made first unless it is there. Steps are removed then."""
    path = folder / CELL_NAME
    if not path.is_file():
        found = make()
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
        shutil.rmtree(folder / "steps", ignore_errors=True)
    entry: Entry = json.loads(path.read_text(encoding="utf-8"))
    return entry


def _judged(lesson: Lesson, recipe: Recipe, model: Any) -> Entry:
    """Dev and test scores, with every row's own where the metric is their mean."""
    infer = TorchRunner(model, recipe.kind, lesson.task.tokenizer.pad_id)
    task = decoded(lesson, recipe, infer)
    exams = {"dev": dev_rows(lesson.splits, recipe), "test": lesson.splits["test"]}
    entry: Entry = {"parameters": count_parameters(model)}
    for name, rows in exams.items():
        found = evaluate(task, rows, infer, recipe.out_of_scope, recipe.summary_sentences)
        entry["metric"] = found.metric
        entry[name] = {"value": found.value, "n": found.n, "rows": row_scores(found)}
    return entry


def row_scores(found: Evaluation) -> list[float]:
    """(n,) the score of each row; nothing for a metric that is no mean over rows."""
    if found.metric not in MEANS:
        return []
    return [round(found.measure(np.array([i])), 4) for i in range(found.n)]


# The record


def collect(run: _Run) -> Entry:
    """What is finished so far, by factor, each with the recipe's own value."""
    recipe, trial = run.trial.recipe, run.trial
    cells = grid(replace(trial, factors=FACTORS))
    rows = [_row(run, cell) for cell in cells if run.finished(cell)]
    teacher = run.teacher()
    return {
        "model": recipe.name,
        "metric": teacher["metric"],
        "data": recipe.data_attribution or Path(recipe.data).name,
        "n": {split: teacher[split]["n"] for split in ("dev", "test")},
        **seeds_of(run.seeds),
        "recipe": {factor: own_value(factor, recipe) for factor in FACTORS},
        "teacher": {split: teacher[split]["value"] for split in ("dev", "test")},
        "rows": rows,
    }


def _row(run: _Run, cell: Cell) -> Entry:
    """One value of one factor over all seeds; differences are paired by rows."""
    students = [run.student(cell, seed) for seed in run.seeds]
    controls = [run.control(cell, seed) for seed in run.seeds]
    centres = [run.student(CENTRE, seed) for seed in run.seeds]
    recipe = run.recipe(cell, run.seeds[0])
    return {
        "factor": cell.factor,
        "value": cell.value,
        "layers": recipe.student_layers,
        "steps": students[0]["train"]["steps"],
        "wall_time_s": round(float(np.mean([one["train"]["wall_time_s"] for one in students])), 1),
        "parameters": students[0]["parameters"],
        "dev": _scores(students, "dev"),
        "dev_against_recipe": difference(students, centres, "dev"),
        "test": _scores(students, "test"),
        "without_teacher": {split: _scores(controls, split) for split in ("dev", "test")},
        "dev_gain": difference(students, controls, "dev"),
        "test_gain": difference(students, controls, "test"),
    }


def _scores(cells: Sequence[Entry], split: str) -> Entry:
    found = spread([cell[split]["value"] for cell in cells])
    if not cells[0][split]["rows"]:
        return {**found, "ci_low": None, "ci_high": None}
    low, high = mean_evaluation(cells, split).interval()
    return {**found, "ci_low": low, "ci_high": high}


def mean_evaluation(cells: Sequence[Entry], split: str) -> Evaluation:
    """Every row's mean over the seeds, to be resampled."""
    rows = np.mean([cell[split]["rows"] for cell in cells], axis=0)
    return Evaluation(
        cells[0]["metric"], len(rows), lambda indices: float(rows[indices].mean()), []
    )


def difference(ours: Sequence[Entry], theirs: Sequence[Entry], split: str) -> Entry:
    """What `ours` have more than `theirs`, with a 95 % interval where rows have scores."""
    if not ours[0][split]["rows"]:
        values = [np.mean([cell[split]["value"] for cell in cells]) for cells in (ours, theirs)]
        return {"value": float(values[0] - values[1]), "ci_low": None, "ci_high": None}
    pair = (mean_evaluation(ours, split), mean_evaluation(theirs, split))
    value, low, high = paired_loss(*pair)
    return {"value": value, "ci_low": low, "ci_high": high}
