"""What trains: train, distill, seeds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from commands import places
from commands.base import number, settings_of, show, tell, verb
from commands.trials import folders_of

VERDICTS = {
    "won": "distillation won",
    "lost": "distillation lost",
    "undecided": "these rows do not tell whether distillation helped",
}
WATCHED = ("report_to", "country")  # of the run, not of the recipe


def add(verbs: Any) -> None:
    train = verb(verbs, "train", run_train, "fine-tune a recipe")
    train.add_argument("recipe", help="a preset or a YAML file")
    train.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="out=DIR, data=PATH, report_to=tensorboard, country=DEU, any key",
    )

    distill = verb(verbs, "distill", run_distill, "distill a student from a teacher checkpoint")
    distill.add_argument("recipe", help="a preset or a YAML file")
    distill.add_argument(
        "settings", nargs="*", metavar="key=value", help="teacher=DIR[,DIR], out=DIR, any key"
    )
    distill.add_argument(
        "--no-control", action="store_true", help="skip the same student without its teacher"
    )

    seeds = verb(verbs, "seeds", run_seeds, "train a recipe and its student with several seeds")
    seeds.add_argument("recipe", help="a preset or a YAML file")
    seeds.add_argument(
        "settings", nargs="*", metavar="key=value", help="seeds=3, out=DIR, data=PATH, any key"
    )


def run_train(options: argparse.Namespace) -> None:
    from training.finetune import finetune
    from training.processes import is_main, leave_processes
    from training.recipe import load_recipe

    own, keys = settings_of(options.settings, "out", *WATCHED)
    recipe = load_recipe(options.recipe, keys)
    out = Path(own.get("out") or places.CHECKPOINTS / recipe.name)
    try:
        with _watching(own):
            finetune(recipe, out, sys.stderr.isatty(), cache=places.WORK / "features", tell=tell)
        if is_main():
            show_metrics(options, out)
    finally:
        leave_processes()


def run_distill(options: argparse.Namespace) -> None:
    from training.distill import distill
    from training.recipe import load_recipe

    own, keys = settings_of(options.settings, "out", "teacher", *WATCHED)
    recipe = load_recipe(options.recipe, keys)
    teachers = folders_of(own.get("teacher") or str(places.CHECKPOINTS / recipe.name))
    out = Path(own.get("out") or places.CHECKPOINTS / f"{recipe.name}-distilled")
    with _watching(own):
        distill(recipe, teachers, out, sys.stderr.isatty(), control=not options.no_control)
    show_metrics(options, out)


def _watching(own: dict[str, str]) -> Any:
    """`report_to=tensorboard,mlflow country=DEU` as `training.watching` takes them."""
    from training.watching import watching

    names = [name for name in own.get("report_to", "").split(",") if name]
    return watching(names, country=own.get("country", "").upper())


def show_metrics(options: argparse.Namespace, checkpoint: Path) -> None:
    metrics = json.loads((checkpoint / "metrics.json").read_text(encoding="utf-8"))
    test, train = metrics["test"], metrics["train"]
    lines = [
        f"{checkpoint}: {test['metric']} {test['value']:.4f} "
        f"[{test['ci_low']:.4f}, {test['ci_high']:.4f}] on {test['n']} test rows",
        f"{train['wall_time_s']:.0f} s, {train['tokens_per_s']} tokens/s",
    ]
    if plain := metrics.get("distillation", {}).get("without_teacher"):
        said = VERDICTS[metrics["distillation"]["verdict"]]
        lines.append(f"the same student without its teacher: {plain['value']:.4f} ({said})")
    show(options, {"checkpoint": str(checkpoint), **metrics}, "\n".join(lines))


def run_seeds(options: argparse.Namespace) -> None:
    from commands.trials import shown
    from export.results import write_tables
    from load_tests.environment import environment
    from training.recipe import load_recipe
    from training.studies.seeds import run_seeds

    own, keys = settings_of(options.settings, "seeds", "out")
    name = load_recipe(options.recipe, keys).name
    out = Path(own.get("out") or places.CHECKPOINTS / "seeds" / name)
    count = number("seeds", own.get("seeds", "3"))
    made = {
        "command": f"transfer seeds {options.recipe} {shown(options.settings)}".strip(),
        "environment": environment(),
    }
    entry = run_seeds(options.recipe, keys, count, out, progress=sys.stderr.isatty(), made=made)
    write_tables()
    lines = [
        f"{part}: {entry['metric']} {found['mean']:.4f}, std {found['std']:.4f}"
        for part, found in entry["parts"].items()
    ]
    show(options, {name: entry}, "\n".join(lines))
