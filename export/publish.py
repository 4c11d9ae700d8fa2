"""Verified variants into BentoML's model store, and into the lock file that names them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from services.errors import ArtifactError, UsageError
from services.lock import read_lock
from services.manifest import MANIFEST_NAME, read_manifest, sha256_of
from services.registry import check_variant
from training.checkpoint import write_json

NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?")


def publish(folder: Path) -> str:
    """Store the variant in `folder` and return its tag; storing it again changes nothing.

    A stored copy that was damaged is replaced. Raises ArtifactError for a damaged `folder`,
    UsageError for a name that BentoML does not take.
    """
    import bentoml

    manifest = check_variant(folder)
    refuse_name(manifest.model)
    tag = tag_of(folder)
    if _is_stored(tag):
        return tag
    labels = {"task": manifest.task, "model": manifest.model, "variant": manifest.variant}
    with bentoml.models.create(tag, labels=labels) as stored:
        for name in (MANIFEST_NAME, *(file.path for file in manifest.files)):
            shutil.copy(folder / name, stored.path_of(name))
    return tag


def refuse_name(model: str) -> None:
    """Tags are made from model names."""
    if not NAME.fullmatch(model):
        raise UsageError(
            f"A model cannot be published as {model!r}; expected a-z, 0-9, - and _, at most 40.",
            "Give the recipe such a `name` and train it again.",
        )


def _is_stored(tag: str) -> bool:
    """Whether the store holds an undamaged copy; a damaged one is removed."""
    import bentoml
    from bentoml.exceptions import NotFound

    try:
        check_variant(Path(bentoml.models.get(tag).path))
    except NotFound:
        return False
    except ArtifactError:
        bentoml.models.delete(tag)
        return False
    return True


def tag_of(folder: Path) -> str:
    """`MODEL-VARIANT:` and the first 16 hex digits of the manifest's sha256."""
    manifest = read_manifest(folder)
    digest = sha256_of(folder / MANIFEST_NAME)[:16]
    return f"{manifest.model}-{manifest.variant}:{digest}"


def write_lock(path: Path, variants: Mapping[str, str], keep: bool = True) -> None:
    """Write "model/variant" -> tag; with `keep`, entries that are not named stay."""
    known = read_lock(path) if keep and path.is_file() else {}
    if not variants and not known:
        raise ArtifactError("There is nothing to publish.", "Run `transfer build`.")
    write_json(path, {"variants": dict(sorted({**known, **variants}.items()))})
