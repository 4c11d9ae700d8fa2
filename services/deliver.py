"""Carry models from one place to another, and answer for every byte of them.

    python -m services.deliver /models /var/lib/transfer

In: a folder with `variants.lock.json` and BentoML's `models/`. Out: the same at the target, with
the variants that TRANSFER_VARIANTS names (all without it). The lock names the digest of each
manifest, the manifest the sha256 of each file; the copies are checked like the originals. The lock
is written last: its existence means that the delivery finished. An init container runs it on
Kubernetes (`k8s/components/model-volume`).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from services.errors import ArtifactError, TransferError, UsageError
from services.lock import read_lock, select
from services.manifest import MANIFEST_NAME
from services.registry import check_tag, check_variant
from services.settings import LOCK_NAME, Settings

STORE_NAME = "models"
BENTOML_NAME = "model.yaml"  # BentoML's own record, without which its store does not know the model


def deliver(source: Path, target: Path, patterns: Sequence[str] = ()) -> dict[str, str]:
    """Copy and check the variants that the patterns name; returns their lock.

    Raises ArtifactError for what is missing or differs, UsageError for a pattern without a variant.
    """
    lock = read_lock(source / LOCK_NAME)
    chosen = {key: lock[key] for key in select(lock, patterns)}
    for tag in chosen.values():
        _carry(tag, source / STORE_NAME, target / STORE_NAME)
    text = json.dumps({"variants": chosen}, indent=2) + "\n"
    (target / LOCK_NAME).write_text(text, encoding="utf-8")
    return chosen


def _carry(tag: str, source: Path, target: Path) -> None:
    """One variant; a copy that is there already is only checked."""
    name, _, version = tag.partition(":")
    origin, copy = source / name / version, target / name / version
    if not copy.exists():
        _copy(origin, copy)
    check_tag(tag, copy)
    check_variant(copy)


def _copy(origin: Path, copy: Path) -> None:
    """Only what the manifest lists, into a folder that gets its name when it is complete."""
    check_tag(f"{origin.parent.name}:{origin.name}", origin)
    names = [file.path for file in check_variant(origin).files]
    partial = copy.with_name(f"{copy.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name in (*names, MANIFEST_NAME, BENTOML_NAME):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin / name, partial / name)
        partial.rename(copy)
    except OSError as error:
        raise ArtifactError(
            f"{origin} could not be copied to {copy}: {error}.",
            "Look for space and rights at the target.",
        ) from error


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when all is there and whole, 1 otherwise, with one line that says why."""
    try:
        if len(arguments) != 2:
            raise UsageError(
                f"There are {len(arguments)} arguments; expected a source and a target.",
                "E.g. `python -m services.deliver /models /var/lib/transfer`.",
            )
        patterns = Settings.from_environment().variants
        chosen = deliver(Path(arguments[0]), Path(arguments[1]), patterns)
    except TransferError as error:
        print(f"transfer: {error}", file=sys.stderr)
        return 1
    print(f"{len(chosen)} variants: {', '.join(chosen)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
