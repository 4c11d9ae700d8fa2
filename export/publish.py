"""Verified variants into BentoML's model store, and into the lock file that names them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from services.errors import ArtifactError
from services.manifest import MANIFEST_NAME, read_manifest, sha256_of
from services.registry import check_variant
from training.checkpoint import write_json


def publish(folder: Path) -> str:
    """Store the variant in `folder` and return its tag; storing it again changes nothing."""
    import bentoml
    from bentoml.exceptions import NotFound

    manifest = check_variant(folder)
    tag = tag_of(folder)
    try:
        bentoml.models.get(tag)
    except NotFound:
        labels = {"task": manifest.task, "model": manifest.model, "variant": manifest.variant}
        with bentoml.models.create(tag, labels=labels) as stored:
            for path in sorted(folder.iterdir()):
                if path.is_file():
                    shutil.copy(path, stored.path_of(path.name))
    return tag


def tag_of(folder: Path) -> str:
    """`MODEL-VARIANT:` and the first 16 hex digits of the manifest's sha256."""
    manifest = read_manifest(folder)
    digest = sha256_of(folder / MANIFEST_NAME)[:16]
    return f"{manifest.model}-{manifest.variant}:{digest}"


def write_lock(path: Path, variants: Mapping[str, str], keep: bool = True) -> None:
    """Write "model/variant" -> tag; with `keep`, entries that are not named stay."""
    known: dict[str, str] = {}
    if keep and path.is_file():
        from services.registry import read_lock

        known = read_lock(path)
    if not variants and not known:
        raise ArtifactError("There is nothing to publish.", "Run `transfer build`.")
    write_json(path, {"variants": dict(sorted({**known, **variants}.items()))})
