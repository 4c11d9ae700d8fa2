"""What gives a finished classifier new classes: add-class."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from commands import places
from commands.base import settings_of, show, verb
from commands.building import exported
from services.errors import UsageError


def add(verbs: Any) -> None:
    more = verb(verbs, "add-class", run_add_class, "teach a classifier new classes")
    more.add_argument("checkpoint", help="a checkpoint's folder, or the name of a model")
    more.add_argument("settings", nargs="*", metavar="key=value", help="out=DIR, any key")
    more.add_argument("--data", required=True, help="rows of the new classes: text and label")
    more.add_argument(
        "--method", default="distill", help="distill, replay, or head (the head alone)"
    )
    more.add_argument("--replay", type=int, default=10, help="rows of each old class; -1: all")
    more.add_argument("--old", default="", help="where the old rows lie, if not as trained")
    more.add_argument("--max-loss", type=float, default=1.0, help="points of the old classes")
    more.add_argument("--publish", action="store_true", help="export it at once, as `export` does")


def run_add_class(options: argparse.Namespace) -> None:
    from training.add_class import Addition, add_class

    own, keys = settings_of(options.settings, "out")
    checkpoint = checkpoint_of(options.checkpoint)
    addition = Addition(
        checkpoint,
        options.data,
        options.method,
        options.replay,
        options.old,
        options.max_loss,
        tuple(keys),
    )
    out = Path(own.get("out") or places.CHECKPOINTS / f"{checkpoint.name}-more")
    report = add_class(addition, out, sys.stderr.isatty())
    lines = [
        f"{out}: {len(report['new_labels'])} new classes, {report['method']}, "
        f"{report['replayed_rows']} old rows read again",
        f"old classes: {report['old_before']['value']:.4f} before, "
        f"{report['old_after']['value']:.4f} after",
        f"new classes: {report['new']['value']:.4f}; all: {report['all']['value']:.4f}",
    ]
    if options.publish:
        report["variants"] = exported(out)
        lines += [f"{key:28} {tag}" for key, tag in report["variants"].items()]
    else:
        lines.append(f"publish it: transfer export {out}")
    show(options, {"checkpoint": str(out), **report}, "\n".join(lines))


def checkpoint_of(name: str) -> Path:
    """The folder itself, or a model's: trained here, or made of its adapter by `build`."""
    built = places.WORK / "build/checkpoints" / name / "full"
    tried = [Path(name), places.CHECKPOINTS / name, built]
    found = [place for place in tried if (place / "checkpoint.json").is_file()]
    if not found:
        raise UsageError(
            f"{name} is neither a checkpoint nor a model with one; looked in "
            f"{', '.join(map(str, tried))}.",
            "Train it (`transfer train`) or rebuild what ships (`transfer build`).",
        )
    return found[0]
