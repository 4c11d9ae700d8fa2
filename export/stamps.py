"""What is built already: which adapters there are, what a build depends on, and whether it stands.

Light on purpose, no torch: `transfer build` with nothing to do, and so every later `make demo`,
ends here in a second.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from services.errors import ArtifactError, UsageError
from services.lock import read_lock
from services.manifest import sha256_of
from services.registry import check_variant, variant_path
from services.tasks.zeroshot import ZeroShotSettings
from training.bases import EMBEDDED_SHA256

ZEROSHOT = "zeroshot"
RECORD_NAME = "adapter.json"
STAMPS_NAME = "build.json"
LIBRARIES = ("torch", "transformers", "optimum-onnx", "onnx", "onnxruntime", "onnxruntime-gpu")
Stamps = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Job:
    """One source of variants: an adapter folder, or the base itself (folder None)."""

    model: str
    role: str
    folder: Path | None


def find_jobs(adapters: Path, models: Sequence[str] = ()) -> list[Job]:
    """All adapters, and zeroshot; raises UsageError for a model that is not there."""
    jobs = [
        Job(folder.parent.name, folder.name, folder)
        for folder in sorted(adapters.glob("[!.]*/[!.]*"))
        if (folder / RECORD_NAME).is_file()
    ]
    jobs.append(Job(ZEROSHOT, "full", None))
    known = sorted({job.model for job in jobs})
    unknown = sorted(set(models) - set(known))
    if unknown:
        raise UsageError(f"No adapter for {', '.join(unknown)}.", f"There are {', '.join(known)}.")
    return [job for job in jobs if not models or job.model in models]


def stamp_of(job: Job, fp16: bool) -> str:
    """What a build depends on: the adapter's files, the code of this package, and its libraries."""
    hasher = hashlib.sha256(f"{job.model}/{job.role}/{fp16}".encode())
    sources = sorted(job.folder.iterdir()) if job.folder else []
    for path in [*sources, *sorted(Path(__file__).parent.glob("*.py"))]:
        if path.is_file() and path.suffix != ".md":
            hasher.update(sha256_of(path).encode())
    hasher.update(repr((EMBEDDED_SHA256, ZeroShotSettings())).encode())
    hasher.update("/".join(f"{name}=={_version(name)}" for name in LIBRARIES).encode())
    return hasher.hexdigest()[:16]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def read_stamps(work: Path) -> Stamps:
    """Stamp -> tags of what was built under it; nothing where the file is absent or damaged."""
    try:
        stamps: Stamps = json.loads((work / STAMPS_NAME).read_text(encoding="utf-8"))
        return stamps
    except (OSError, ValueError):
        return {}


def all_stored(tags: dict[str, str]) -> bool:
    """Whether the store holds all of them undamaged, so that building again mends what is not."""
    try:
        for tag in tags.values():
            check_variant(variant_path(tag))
    except ArtifactError:
        return False
    return True


def standing(
    adapters: Path, work: Path, lock: Path, models: Sequence[str], fp16: bool
) -> dict[str, str] | None:
    """The published variants if a build would change nothing, else None."""
    stamps = read_stamps(work)
    try:
        published = read_lock(lock)
    except ArtifactError:
        return None
    for job in find_jobs(adapters, models):
        tags = stamps.get(stamp_of(job, fp16), {})
        if not tags or tags.items() - published.items():
            return None
    return published if all_stored(published) else None
