"""What searches: `transfer tune`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from commands import places
from commands.base import number, settings_of, show, verb
from commands.trials import folders_of


def add(verbs: Any) -> None:
    tune = verb(verbs, "tune", run_tune, "search the hyperparameters of a recipe")
    tune.add_argument("recipe", help="a preset or a YAML file")
    tune.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="trials=20, search='{KEY: [LOW, HIGH]}', teacher=DIR[,DIR], out=DIR, any key",
    )


def run_tune(options: argparse.Namespace) -> None:
    from training.recipe import load_recipe
    from training.search.space import read_space
    from training.search.tune import BEST_NAME, RECORD_NAME, tune

    own, keys = settings_of(options.settings, "trials", "search", "teacher", "out")
    recipe = load_recipe(options.recipe, keys)
    teachers = folders_of(own.get("teacher", ""))
    space = read_space(own.get("search", ""), recipe, bool(teachers))
    trials = number("trials", own.get("trials", "20"))
    name = f"{recipe.name}-distilled" if teachers else recipe.name
    out = Path(own.get("out") or places.CHECKPOINTS / f"{name}-tuned")
    found = tune(recipe, space, trials, out, sys.stderr.isatty(), teachers)
    best = {key: found["best"][key] for key in found["searched"]}
    lines = [
        f"{found['trials']} trials, {found['pruned']} of them pruned",
        f"dev {found['best']['dev']:.4f}",
        *(f"  {key}: {value}" for key, value in best.items()),
    ]
    if tested := found.get("test"):
        lines.append(f"test {tested['metric']} {tested['value']:.4f}, which chose nothing")
    train, given = ("distill", f" teacher={own['teacher']}") if teachers else ("train", "")
    go_on = f"transfer {train} {out / BEST_NAME}.yaml{given}"
    lines.append(f"{out / RECORD_NAME}; go on with `{go_on}`")
    show(options, found, "\n".join(lines))
