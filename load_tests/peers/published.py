"""The variants that are measured: where they lie, what exactly they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from services.errors import UsageError
from services.manifest import read_manifest
from services.registry import packaged, read_lock, variant_path
from services.settings import Settings, prepare_bentoml


def lock() -> dict[str, str]:
    """ "model/variant" to tag, as the service reads it."""
    prepare_bentoml()
    return read_lock(Settings.from_environment().lock)


def folder_of(key: str) -> Path:
    """The folder of one published variant; raises UsageError when it is not published."""
    published = lock()
    if key not in published:
        raise UsageError(
            f"{key} is not published; there are {', '.join(published) or 'no variants'}.",
            "Run `transfer build`.",
        )
    return variant_path(published[key])


def default_keys() -> list[str]:
    """What the default Bento holds: one variant of each model."""
    return packaged(lock(), ())


def artifact(key: str) -> dict[str, Any]:
    """sha256 of the graph, its quality: what a speed has to stand beside."""
    manifest = read_manifest(folder_of(key))
    graph = next(file.sha256 for file in manifest.files if file.path == "model.onnx")
    quality = msgspec.to_builtins(manifest.quality) or {}
    return {"sha256": graph, "precision": manifest.precision, "quality": quality}
