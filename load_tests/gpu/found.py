"""Which variants are measured, and where: fp32 and fp16 on the device, int8 beside it on the CPU.

In: a folder of built variants (`MODEL/VARIANT/manifest.json`), or the lock file. Out: `Found`, the
fp32 one of each role first, as the others are compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.errors import UsageError
from services.lock import VARIANTS, read_lock
from services.manifest import MANIFEST_NAME, Manifest, read_manifest
from services.registry import variant_path
from services.settings import Provider

ORDER = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Found:
    folder: Path
    manifest: Manifest

    @property
    def key(self) -> str:
        return f"{self.manifest.model}/{self.manifest.variant}"

    @property
    def role(self) -> str:
        """`full` or `distilled`, of whatever precision."""
        return self.manifest.variant.removesuffix(f"-{self.manifest.precision}")

    @property
    def provider(self) -> Provider:
        return "cpu" if self.manifest.precision == "int8" else "cuda"


def find_variants(
    lock: Path, folder: Path | None = None, models: Sequence[str] = ()
) -> list[Found]:
    """By model and role, fp32 first; raises UsageError where there is none."""
    folders = _built(folder) if folder else [variant_path(tag) for tag in read_lock(lock).values()]
    found = [Found(one, read_manifest(one)) for one in folders]
    known = sorted({one.manifest.model for one in found})
    unknown = sorted(set(models) - set(known))
    if unknown or not found:
        raise UsageError(
            f"No variant of {', '.join(unknown) or 'any model'} in {folder or lock}; "
            f"there are {', '.join(known) or 'none'}.",
            "Name one of these, or run `transfer build`.",
        )
    chosen = [one for one in found if not models or one.manifest.model in models]
    return sorted(chosen, key=lambda one: (one.manifest.model, _place(one)))


def _built(folder: Path) -> list[Path]:
    return [path.parent for path in sorted(folder.glob(f"[!.]*/[!.]*/{MANIFEST_NAME}"))]


def _place(one: Found) -> tuple[int, int]:
    known = VARIANTS.index(one.role) if one.role in VARIANTS else len(VARIANTS)
    return known, ORDER.index(one.manifest.precision)


def without_fp16(found: Sequence[Found]) -> list[str]:
    """Keys of fp32 variants that have no fp16 sibling."""
    keys = {one.key for one in found}
    fp32 = [one.key for one in found if one.manifest.precision == "fp32"]
    return [key for key in fp32 if f"{key}-fp16" not in keys]
