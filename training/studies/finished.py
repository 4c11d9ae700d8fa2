"""A record that took a training, kept with what it was made of, and made again when that differs.

record = once(path, {"recipe": recipe.digest, "rows": rows_digest(splits)}, train)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.checkpoint import write_json

MADE_OF = "made_of"

Record = dict[str, Any]


def once(path: Path, made_of: Mapping[str, Any], make: Callable[[], Record]) -> Record:
    """What `path` holds if it was made of the same, else what is made now and written there."""
    found = kept(path, made_of)
    if found is None:
        found = {**make(), MADE_OF: dict(made_of)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
    return found


def kept(path: Path, made_of: Mapping[str, Any]) -> Record | None:
    """The finished record; None where there is none, or one that was made of something else."""
    if not path.is_file():
        return None
    found: Record = json.loads(path.read_text(encoding="utf-8"))
    return found if found.get(MADE_OF) == dict(made_of) else None


def rows_digest(splits: Mapping[str, Sequence[Any]]) -> str:
    """sha256 of all rows, by split and in their order."""
    state = hashlib.sha256()
    for name, rows in sorted(splits.items()):
        state.update(f"{name} {len(rows)}\n".encode())
        for row in rows:
            state.update(repr(row).encode())
    return state.hexdigest()
