"""What took a training and is not made twice: records by what they were made of, checkpoints.

made_of = {"recipe": recipe.digest, "rows": rows_digest(splits)}
record = kept(path, made_of) or keep(path, made_of, train())
metrics = trained(folder, recipe, train_into)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.errors import UsageError
from training.checkpoint import METRICS_NAME, RECIPE_NAME, write_json
from training.recipe import Recipe, load_recipe

MADE_OF = "made_of"

Record = dict[str, Any]


def kept(path: Path, made_of: Mapping[str, Any]) -> Record | None:
    """The finished record; None where there is none, or one that was made of something else."""
    if not path.is_file():
        return None
    found: Record = json.loads(path.read_text(encoding="utf-8"))
    return found if found.get(MADE_OF) == dict(made_of) else None


def keep(path: Path, made_of: Mapping[str, Any], record: Record) -> Record:
    """Write it with what it was made of; returns what is written."""
    whole = {**record, MADE_OF: dict(made_of)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, whole)
    return whole


def rows_digest(splits: Mapping[str, Sequence[Any]]) -> str:
    """sha256 of all rows, by split and in their order."""
    state = hashlib.sha256()
    for name, rows in sorted(splits.items()):
        state.update(f"{name} {len(rows)}\n".encode())
        for row in rows:
            state.update(repr(row).encode())
    return state.hexdigest()


def trained(folder: Path, recipe: Recipe, make: Callable[[Path], Any]) -> Record:
    """The metrics of the checkpoint in `folder`, which is made unless it is finished.

    Raises UsageError for a finished training of another recipe or other data.
    """
    if not (folder / METRICS_NAME).is_file():
        make(folder)
    found = load_recipe(folder / RECIPE_NAME)
    if (found.digest, Path(found.data).name) != (recipe.digest, Path(recipe.data).name):
        raise UsageError(
            f"{folder} holds a training of another recipe or other data.",
            "Remove it, or name another folder with `out=`.",
        )
    metrics: Record = json.loads((folder / METRICS_NAME).read_text(encoding="utf-8"))
    return metrics
