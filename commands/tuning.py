"""What searches: `transfer tune`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from commands import places
from commands.base import number, settings_of, show, verb


def add(verbs: Any) -> None:
    tune = verb(verbs, "tune", run_tune, "search the hyperparameters of a recipe")
    tune.add_argument("recipe", help="a preset or a YAML file")
    tune.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="trials=20, search='{KEY: [LOW, HIGH]}', out=DIR, data=PATH, any key",
    )


def run_tune(options: argparse.Namespace) -> None:
    from training.recipe import load_recipe
    from training.search.space import read_space
    from training.search.tune import BEST_NAME, RECORD_NAME, tune

    own, keys = settings_of(options.settings, "trials", "search", "out")
    recipe = load_recipe(options.recipe, keys)
    space = read_space(own.get("search", ""))
    trials = number("trials", own.get("trials", "20"))
    out = Path(own.get("out") or places.CHECKPOINTS / f"{recipe.name}-tuned")
    found = tune(recipe, space, trials, out, sys.stderr.isatty())
    best = {key: found["best"][key] for key in found["searched"]}
    lines = [
        f"{found['trials']} trials, {found['pruned']} of them pruned",
        f"dev {found['best']['dev']:.4f}",
        *(f"  {key}: {value}" for key, value in best.items()),
        f"test {found['test']['metric']} {found['test']['value']:.4f}, which chose nothing",
        f"{out / RECORD_NAME}; go on with `transfer train {out / BEST_NAME}.yaml`",
    ]
    show(options, found, "\n".join(lines))
