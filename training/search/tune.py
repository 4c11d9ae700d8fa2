"""Hyperparameters by search: many short trainings, judged on dev, the hopeless ones stopped early.

    transfer tune sample-tickets trials=20
    transfer tune intent trials=30 search='{learning_rate: [1e-5, 1e-3]}' data=clinc150
    transfer tune intent-distilled teacher=checkpoints/intent search='{temperature: [1.0, 8.0]}'

Optuna (Akiba et al. 2019) draws by TPE (Bergstra et al. 2011) and prunes a trial whose dev score is
below the median of the others at the same share of the steps. OUT holds the study (`study.db`,
SQLite: run again, it goes on from there, up to `trials` in all), `best.yaml`, the checkpoint of the
best trial, what each key was worth (`importance.svg`), and `tune.json`, written last. The test rows
choose nothing. Of students nothing is kept but their dev scores: `transfer distill OUT/best.yaml`
makes the best one, beside its control.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from services.errors import UsageError
from services.manifest import sha256_of
from training.bases import WEIGHTS
from training.checkpoint import METRICS_NAME, write_json
from training.distill import TEACHER, common_parent, distilled_dev_score
from training.finetune import finetune
from training.recipe import Recipe
from training.search.importance import importance_plot
from training.search.space import Choice, corners, drawn_recipe
from training.watching import watch, watching

STUDY_NAME = "study.db"
RECORD_NAME = "tune.json"
BEST_NAME = "best"
FIRST_TRIALS = 5  # are never pruned: there is no median yet
SEARCHED = "searched"  # of the study: the recipe's digest, the keys, and the teachers' digests


@dataclass(frozen=True)
class Search:
    """What all trials have in common.

    teachers: checkpoints, of whose student the settings are searched; empty: of a full training
    """

    recipe: Recipe
    space: Sequence[Choice]
    out: Path
    teachers: Sequence[Path] = ()
    progress: bool = False

    def draw(self, values: Mapping[str, Any]) -> Recipe:
        return drawn_recipe(self.recipe, values)

    def folder(self, trial: Any) -> Path:
        return self.out / "trials" / str(trial.number)


class Pruner(TrainerCallback):
    """Reports every dev score to the trial, and leaves the training where it is hopeless."""

    def __init__(self, trial: Any) -> None:
        self.trial = trial

    def on_evaluate(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        import optuna

        # By share of the steps, in percent: a larger batch has fewer of them.
        done = round(100 * state.global_step / max(state.max_steps, 1))
        self.trial.report(options["metrics"]["eval_score"], done)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def tune(
    recipe: Recipe,
    space: Sequence[Choice],
    trials: int,
    out: Path,
    progress: bool = False,
    teachers: Sequence[Path] = (),
) -> dict[str, Any]:
    """Search until the study has `trials` finished or pruned ones; returns the record.

    Raises UsageError where Optuna is missing, `out` holds another search, or a trial could draw
    what a recipe file may not say.
    """
    optuna = _optuna()
    search = Search(recipe, space, out, teachers, progress)
    if trials < 1:
        raise UsageError(f"trials is {trials}; expected at least 1.", "E.g. trials=20.")
    for corner in corners(recipe, space):
        _refuse_misfit(corner, teachers)
    out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=recipe.name,
        storage=f"sqlite:///{out / STUDY_NAME}",
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS),
        load_if_exists=True,
    )
    _claim(study, search)
    # Going on with the seed of the beginning would draw the first trials again.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.trials))
    while len(_counted(study)) < trials:
        trial = study.ask()
        try:
            study.tell(trial, _run(search, trial))
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except Exception:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        _keep_best(study, search)
    return _write(study, search)


def _refuse_misfit(recipe: Recipe, teachers: Sequence[Path]) -> None:
    if teachers:
        common_parent(recipe, teachers)
    elif recipe.student_layers:
        raise UsageError(
            f"Recipe {recipe.name} has student_layers; without a teacher they change nothing.",
            "Name one, e.g. `teacher=checkpoints/intent`, or search the teacher's own recipe.",
        )


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            "transfer tune needs Optuna, which is not installed.",
            "`pip install -c constraints.txt -e '.[tune]'`.",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _claim(study: Any, search: Search) -> None:
    """Refuse to go on with the trials of another recipe, another space or other teachers."""
    keys = [repr(choice) for choice in search.space]
    identities = [sha256_of(folder / WEIGHTS) for folder in search.teachers]
    searched = json.dumps([search.recipe.digest, keys, *identities])
    known = study.user_attrs.get(SEARCHED)
    if known is not None and known != searched:
        raise UsageError(
            f"{search.out / STUDY_NAME} holds a search of another recipe, other keys or teachers.",
            "Run it with the same settings, choose another folder with `out=DIR`, or remove it.",
        )
    study.set_user_attr(SEARCHED, searched)


def _counted(study: Any) -> list[Any]:
    """Trials that ended; those of a killed search are asked for anew."""
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def _run(search: Search, trial: Any) -> float:
    """The best dev score of one training; what teachers say is read once for all of them."""
    drawn = search.draw({choice.key: choice.suggest(trial) for choice in search.space})
    folder, teachers = search.folder(trial), search.teachers
    shutil.rmtree(folder, ignore_errors=True)
    around = watch()
    with watching(around.report_to, [*around.callbacks, Pruner(trial)], around.country):
        if teachers:
            cache = search.out / TEACHER
            return distilled_dev_score(drawn, teachers, folder, cache, search.progress)
        finetune(drawn, folder, search.progress)
    return float(_metrics(folder)["train"]["dev_best"])


def _metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))
    return found


def _keep_best(study: Any, search: Search) -> None:
    """Weights of the best trial alone: twenty checkpoints of a large base fill a disk.

    Of students none: what lies there are steps, no checkpoint.
    """
    best = search.folder(study.best_trial)
    for folder in best.parent.iterdir():
        if folder != best or search.teachers:
            shutil.rmtree(folder)


def _write(study: Any, search: Search) -> dict[str, Any]:
    importance = _importance(study)
    search.draw(study.best_params).save(search.out / f"{BEST_NAME}.yaml")
    judged = (
        {"teachers": len(search.teachers)}
        if search.teachers
        else {"test": _metrics(search.folder(study.best_trial))["test"]}
    )
    record = {
        "recipe": search.recipe.name,
        "trials": len(_counted(study)),
        "pruned": sum(trial.state.name == "PRUNED" for trial in study.trials),
        "best": {"trial": study.best_trial.number, "dev": study.best_value, **study.best_params},
        **judged,
        "importance": importance,
        "searched": {choice.key: repr(choice) for choice in search.space},
        "history": [
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "dev": trial.value,
                **trial.params,
            }
            for trial in _counted(study)
        ],
    }
    if importance:
        plot = importance_plot(importance)
        (search.out / "importance.svg").write_text(plot, encoding="utf-8")
    write_json(search.out / RECORD_NAME, record)
    return record


def _importance(study: Any) -> dict[str, float]:
    """Share of the dev score's variance that each key explains (fANOVA, Hutter et al. 2014).

    Empty where too few trials ended, or all had the same score.
    """
    import optuna

    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if len(complete) < 2 or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(value) for name, value in found.items()}
