"""Hyperparameters by search: many short trainings, judged on dev, the hopeless ones stopped early.

    transfer tune sample-tickets trials=20
    transfer tune intent trials=30 search='{learning_rate: [1e-5, 1e-3]}' data=clinc150

Optuna (Akiba et al. 2019) draws by TPE (Bergstra et al. 2011) and prunes a trial whose dev score is
below the median of the others at the same share of the steps. OUT holds the study (`study.db`,
SQLite: run again, it goes on from there, up to `trials` in all), `best.yaml`, the checkpoint of the
best trial, what each key was worth (`importance.svg`), and `tune.json`, written last. The test rows
choose nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from services.errors import UsageError
from training.checkpoint import METRICS_NAME, write_json
from training.finetune import finetune
from training.recipe import Recipe
from training.search.importance import importance_plot
from training.search.space import Choice
from training.watching import watch, watching

STUDY_NAME = "study.db"
RECORD_NAME = "tune.json"
BEST_NAME = "best"
FIRST_TRIALS = 5  # are never pruned: there is no median yet
SEARCHED = "searched"  # of the study: the recipe's digest and the keys


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
    recipe: Recipe, space: Sequence[Choice], trials: int, out: Path, progress: bool = False
) -> dict[str, Any]:
    """Search until the study has `trials` finished or pruned ones; returns the record.

    Raises UsageError where Optuna is missing, or `out` holds another search.
    """
    optuna = _optuna()
    if trials < 1:
        raise UsageError(f"trials is {trials}; expected at least 1.", "E.g. trials=20.")
    out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=recipe.name,
        storage=f"sqlite:///{out / STUDY_NAME}",
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS),
        load_if_exists=True,
    )
    _claim(study, recipe, space, out)
    # Going on with the seed of the beginning would draw the first trials again.
    study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.trials))
    while len(_counted(study)) < trials:
        trial = study.ask()
        try:
            study.tell(trial, _run(recipe, space, trial, out, progress))
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except Exception:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        _keep_best(study, out)
    return _write(study, recipe, space, out)


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


def _claim(study: Any, recipe: Recipe, space: Sequence[Choice], out: Path) -> None:
    """Refuse to go on with the trials of another recipe or another space."""
    searched = json.dumps([recipe.digest, [repr(choice) for choice in space]])
    known = study.user_attrs.get(SEARCHED)
    if known is not None and known != searched:
        raise UsageError(
            f"{out / STUDY_NAME} holds a search of another recipe or of other keys.",
            "Run it with the same settings, choose another folder with `out=DIR`, or remove it.",
        )
    study.set_user_attr(SEARCHED, searched)


def _counted(study: Any) -> list[Any]:
    """Trials that ended; those of a killed search are asked for anew."""
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def _folder(out: Path, trial: Any) -> Path:
    return out / "trials" / str(trial.number)


def _run(recipe: Recipe, space: Sequence[Choice], trial: Any, out: Path, progress: bool) -> float:
    chosen = {choice.key: choice.suggest(trial) for choice in space}
    folder = _folder(out, trial)
    shutil.rmtree(folder, ignore_errors=True)
    around = watch()
    with watching(around.report_to, [*around.callbacks, Pruner(trial)], around.country):
        finetune(replace(recipe, **chosen), folder, progress)
    metrics = _metrics(folder)
    trial.set_user_attr("wall_time_s", metrics["train"]["wall_time_s"])
    return float(metrics["train"]["dev_best"])


def _metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))
    return found


def _keep_best(study: Any, out: Path) -> None:
    """Weights of the best trial alone: twenty checkpoints of a large base fill a disk."""
    best = _folder(out, study.best_trial)
    for folder in best.parent.iterdir():
        if folder != best:
            shutil.rmtree(folder)


def _write(study: Any, recipe: Recipe, space: Sequence[Choice], out: Path) -> dict[str, Any]:
    importance = _importance(study)
    best = replace(recipe, **study.best_params)
    best.save(out / f"{BEST_NAME}.yaml")
    found = _metrics(_folder(out, study.best_trial))
    record = {
        "recipe": recipe.name,
        "trials": len(_counted(study)),
        "pruned": sum(trial.state.name == "PRUNED" for trial in study.trials),
        "best": {"trial": study.best_trial.number, "dev": study.best_value, **study.best_params},
        "test": found["test"],
        "importance": importance,
        "searched": {choice.key: repr(choice) for choice in space},
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
        (out / "importance.svg").write_text(importance_plot(importance), encoding="utf-8")
    write_json(out / RECORD_NAME, record)
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
