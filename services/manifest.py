"""`manifest.json`: what one variant is, where it comes from, and what was measured of it.

Written last by `export`, read by the registry: its existence means that the variant is complete.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from services.errors import ArtifactError

MANIFEST_NAME = "manifest.json"
AGAIN = "Run `transfer build` again."


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    sha256: str
    bytes: int


class Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pretrained checkpoint that the variant started from; sha256 of its weights file."""

    id: str
    revision: str
    sha256: str


class Quality(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`value` of `metric` over `n` rows of `data`, with its 95 % bootstrap interval where known."""

    metric: str
    value: float
    n: int
    data: str
    ci_low: float | None = None
    ci_high: float | None = None


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Against the graph one step before: fp32 against torch, int8 and fp16 against fp32."""

    max_abs: float
    agreement: float
    n: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """kind: which encode/decode pair of `services.tasks` fits the graph (`tasks.kinds.KINDS`).

    decoding: the settings of that pair (`ClassifySettings`, `QaSettings`, ...).
    """

    name: str
    version: int = 1
    task: str
    kind: str
    model: str
    variant: str
    base: Base
    parent: str | None
    recipe_digest: str
    git_commit: str
    created: str
    labels: list[str]
    max_tokens: int
    inputs: list[str]
    outputs: list[str]
    precision: str
    provider: str
    opset: int
    files: list[File]
    parameters: int
    quality: Quality | None
    parity: Parity | None
    licence: str
    attribution: str
    decoding: dict[str, Any]

    @property
    def size_bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def read_manifest(folder: Path) -> Manifest:
    """Read `folder/manifest.json`; raises ArtifactError naming the file and the fault."""
    path = folder / MANIFEST_NAME
    try:
        content = path.read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
        refuse_twice(content)
        return manifest
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} does not exist; a complete variant has one.", "Run `transfer build` again."
        ) from error
    except (msgspec.MsgspecError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a manifest: {error}.", "Run `transfer build` again."
        ) from error


def refuse_twice(content: bytes) -> None:
    """Raise ValueError for JSON in which an object has a name twice: readers differ on it."""

    def pairs(found: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in found]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice!r} stands twice in one object")

    json.loads(content, object_pairs_hook=pairs)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `folder/manifest.json` in one step, after everything it names."""
    scratch = folder / (MANIFEST_NAME + ".part")
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    scratch.replace(folder / MANIFEST_NAME)


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_files(folder: Path) -> list[File]:
    """Every file below `folder` but the manifest itself, by path."""
    return [
        File(str(path.relative_to(folder)), sha256_of(path), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_NAME
    ]
