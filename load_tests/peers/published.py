"""What is published, told to the process that measures: it must not import what a server imports.

In: JSON on stdin {keys}: "model/variant", or null for what the default Bento holds. Out: JSON on
stdout, by key: folder, model, variant, task, max_tokens, decoding, artifact, and the examples of
the API as requests for it. Asked by `load_tests.peers.variants`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from load_tests.bodies import items, zero_shot_labels
from services.errors import TransferError, UsageError
from services.lock import packaged, read_lock
from services.manifest import Manifest, read_manifest
from services.registry import GRAPH_NAME, variant_path
from services.settings import Settings, prepare_bentoml


def describe(keys: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Raises UsageError for a key that is not published."""
    prepare_bentoml()
    lock = read_lock(Settings.from_environment().lock)
    return {key: _described(key, lock) for key in (packaged(lock, ()) if keys is None else keys)}


def _described(key: str, lock: Mapping[str, str]) -> dict[str, Any]:
    if key not in lock:
        raise UsageError(
            f"{key} is not published; there are {', '.join(lock) or 'no variants'}.",
            "Run `transfer build`.",
        )
    folder = variant_path(lock[key])
    manifest = read_manifest(folder)
    labels = zero_shot_labels() if manifest.kind == "zero-shot" else None
    bodies = items(manifest.task, manifest.model, labels=labels)
    return {
        "folder": str(folder),
        "model": manifest.model,
        "variant": manifest.variant,
        "task": manifest.task,
        "max_tokens": manifest.max_tokens,
        "decoding": manifest.decoding,
        "artifact": artifact(manifest),
        "bodies": [{**body, "variant": manifest.variant} for body in bodies],
    }


def artifact(manifest: Manifest) -> dict[str, Any]:
    """sha256 of the graph and its quality: what a speed has to stand beside."""
    graph = next(file.sha256 for file in manifest.files if file.path == GRAPH_NAME)
    quality = msgspec.to_builtins(manifest.quality) or {}
    return {"sha256": graph, "precision": manifest.precision, "quality": quality}


def main() -> int:
    try:
        json.dump(describe(json.load(sys.stdin)["keys"]), sys.stdout)
    except TransferError as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
