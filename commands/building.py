"""What makes variants and adapters: build, half, export, pack."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import places
from commands.base import also_of, checkpoint_recipe, number, settings_of, show, verb
from services.settings import Settings


def add(verbs: Any) -> None:
    build = verb(verbs, "build", run_build, "adapters to verified, published variants")
    build.add_argument("models", nargs="*", help="only these models")
    build.add_argument("--fp16", action="store_true", help="also fp16 variants; needs a GPU")

    half = verb(verbs, "half", run_half, "fp16 variants of built ones, verified on this GPU")
    half.add_argument("variants", type=Path, help="e.g. .cache/build/variants")

    export = verb(verbs, "export", run_export, "checkpoint to verified, published variants")
    export.add_argument("checkpoint", type=Path)
    export.add_argument(
        "settings", nargs="*", metavar="key=value", help="data=PATH of the test rows"
    )
    export.add_argument(
        "--unmeasured", action="store_true", help="publish without the release gate"
    )
    export.add_argument("--fp16", action="store_true", help="also fp16; needs a GPU")

    pack = verb(verbs, "pack", run_pack, "checkpoint to an adapter that ships, with its card")
    pack.add_argument("checkpoint", type=Path)
    pack.add_argument("adapter", type=Path, help="e.g. adapters/intent/full")
    pack.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="data=PATH, rank=64, also=RECIPE=PATH, any key",
    )


def run_build(options: argparse.Namespace) -> None:
    from export.plans import measure_missing
    from export.stamps import standing

    settings = Settings.from_environment()
    lock, work = settings.lock, places.WORK / "build"
    tags = standing(places.ADAPTERS, work, lock, options.models, options.fp16)
    if tags is None:
        from export.build import build
        from training.data import sample_rows

        fp16, bar = options.fp16, sys.stderr.isatty()
        tags = build(places.ADAPTERS, work, lock, sample_rows, options.models, fp16, bar)
    measure_missing(tags, settings)
    show(options, {"variants": tags}, "\n".join(f"{key:28} {tag}" for key, tag in tags.items()))


def run_half(options: argparse.Namespace) -> None:
    from export.half import halve_all
    from training.data import sample_rows

    def advance(key: str) -> None:
        print(f"{key}: verified", file=sys.stderr)

    folders = halve_all(options.variants, sample_rows, advance)
    found = [str(folder) for folder in folders]
    show(options, {"variants": found}, "\n".join(found))


def run_export(options: argparse.Namespace) -> None:
    tags = exported(options.checkpoint, options.settings, not options.unmeasured, options.fp16)
    show(options, {"variants": tags}, "\n".join(f"{key:28} {tag}" for key, tag in tags.items()))


def exported(
    checkpoint: Path, keys: Sequence[str] = (), measured: bool = True, fp16: bool = False
) -> dict[str, str]:
    """Published variants of a checkpoint; measured: on its test rows, by the release gate."""
    from export.checkpoint import export_checkpoint
    from training.data import sample_rows
    from training.held_out import held_out

    held = held_out(checkpoint_recipe(checkpoint, keys)) if measured else None
    lock, work = Settings.from_environment().lock, places.WORK / "export"
    return export_checkpoint(checkpoint, work, lock, sample_rows, held, fp16=fp16)


def run_pack(options: argparse.Namespace) -> None:
    from export.release import release
    from training.data import sample_rows
    from training.held_out import held_out

    own, keys = settings_of(options.settings, "rank", "also")
    rank, also = number("rank", own.get("rank", "0")), also_of(own.get("also", ""))
    held = held_out(checkpoint_recipe(options.checkpoint, keys), also)
    card = release(
        options.checkpoint, options.adapter, places.WORK / "pack", held, sample_rows, rank
    )
    show(options, card, f"{options.adapter}: {measured(card)}")


def measured(card: dict[str, Any]) -> str:
    return "  ".join(f"{name} {found['value']:.4f}" for name, found in card["quality"].items())
