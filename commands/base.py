"""What the verbs share: their parsers, `key=value` settings, results for people or machines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from services.errors import UsageError


def verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text.capitalize() + "."
    )
    made.add_argument("--json", action="store_true", help="machine-readable output")
    made.set_defaults(verb=run)
    return made


def show(options: argparse.Namespace, content: Any, human: str) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False) if options.json else human)


def tell(text: str) -> None:
    """A human word, beside the results."""
    print(text, file=sys.stderr)


def settings_of(values: Sequence[str], *ours: str) -> tuple[dict[str, str], list[str]]:
    """Our own `key=value` settings, and the rest, which are recipe keys."""
    mine = [value for value in values if value.partition("=")[0] in ours and "=" in value]
    own = {name: text for name, _, text in (value.partition("=") for value in mine)}
    return own, [value for value in values if value not in mine]


def number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{name} is {text!r}; expected a whole number.", f"E.g. {name}=64.")
    return int(text)


def also_of(text: str) -> dict[str, Path]:
    """`news=bbc.jsonl,other=FILE` to recipe -> path."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if any(not (name and path) for name, _, path in pairs):
        raise UsageError(f"also is {text!r}; expected RECIPE=PATH.", "E.g. also=news=bbc.jsonl.")
    return {name: Path(path) for name, _, path in pairs}


def checkpoint_recipe(checkpoint: Path, keys: Sequence[str]) -> Any:
    """The recipe that a finished checkpoint was trained with."""
    from training.checkpoint import read_description
    from training.recipe import load_recipe

    read_description(checkpoint)  # says so when the folder is no checkpoint
    return load_recipe(checkpoint / "recipe.yaml", keys)
