"""A record that took a training, kept with what it was made of, and made again when that differs.

made_of = {"recipe": recipe.digest, "rows": rows_digest(splits)}
record = kept(path, made_of) or keep(path, made_of, train())
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.checkpoint import write_json

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
