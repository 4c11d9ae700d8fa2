"""Which variants are published, and which of them are meant: `variants.lock.json`.

In: the lock file and patterns such as `distilled-int8` or `intent/full`. Out: keys "model/variant"
and the tags of BentoML's model store that they stand for. Imports little: who measures a server
must not share its libraries (`services.registry` finds and checks the files).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from services.errors import ArtifactError, UsageError
from services.manifest import AGAIN, refuse_twice

# Biggest first: the order of a comparison.
VARIANTS = ("full", "full-fp16", "full-int8", "distilled", "distilled-fp16", "distilled-int8")
CPU_DEFAULTS = ("distilled-int8", "full-int8")
CUDA_DEFAULTS = ("distilled-fp16", "full-fp16")


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    variants: dict[str, str]


def read_lock(path: Path) -> dict[str, str]:
    """The published variants: "model/variant" to the tag in BentoML's model store."""
    try:
        content = path.read_bytes()
        lock = msgspec.json.decode(content, type=Lock)
        refuse_twice(content)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} does not exist; it names the published variants.",
            "Run `transfer build`, or point TRANSFER_LOCK at one.",
        ) from error
    except (msgspec.MsgspecError, OSError, ValueError) as error:
        raise ArtifactError(f"{path} is not a lock file: {error}.", AGAIN) from error
    for key, tag in lock.variants.items():
        if key.count("/") != 1 or tag.rpartition(":")[0] != key.replace("/", "-"):
            raise ArtifactError(
                f"{path} has {key!r}: {tag!r}; expected 'MODEL/VARIANT': 'MODEL-VARIANT:DIGEST'.",
                AGAIN,
            )
    return dict(sorted(lock.variants.items()))


def select(keys: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The "model/variant" keys that a pattern names: a model, a variant, or both; all if none."""
    known = list(keys)
    unknown = [p for p in patterns if not any(_fits(p, key) for key in known)]
    if unknown:
        raise UsageError(
            f"TRANSFER_VARIANTS names {', '.join(unknown)}; published are {', '.join(known)}.",
            "Name a model, a variant, or model/variant.",
        )
    return [key for key in known if not patterns or any(_fits(p, key) for p in patterns)]


def _fits(pattern: str, key: str) -> bool:
    return pattern in (key, *key.split("/"))


def default_variant(model: str, variants: Iterable[str], cuda: bool = False) -> str:
    """The variant of `model` that answers when a request names none."""
    known = list(variants)
    wanted: tuple[str, ...] = (*CUDA_DEFAULTS, *CPU_DEFAULTS) if cuda else CPU_DEFAULTS
    for variant in (*wanted, *known):
        if variant in known:
            return variant
    raise UsageError(f"{model} has no variant.", "Run `transfer build`.")


def packaged(keys: Iterable[str], patterns: Sequence[str], cuda: bool = False) -> list[str]:
    """The keys that go into a Bento: those named by the patterns, else each model's default.

    cuda: of a Bento for CUDA, where int8 is not run
    """
    known = list(keys)
    if patterns:
        return select(known, patterns)
    variants: dict[str, list[str]] = {}
    for key in known:
        model, variant = key.split("/")
        if not (cuda and variant.endswith("-int8")):
            variants.setdefault(model, []).append(variant)
    return [f"{model}/{default_variant(model, names, cuda)}" for model, names in variants.items()]


def tags_of(lock: Mapping[str, str], tags: Iterable[str]) -> dict[str, str]:
    """The part of a lock whose tags are among `tags` (a Bento holds some of the variants)."""
    present = set(tags)
    return {key: tag for key, tag in lock.items() if tag in present}
