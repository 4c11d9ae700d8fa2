"""Which variants there are, whether their files are what they claim, and how each is decoded.

In: `variants.lock.json` and the folders of BentoML's model store that it names. Out: checked
manifests and task objects. A variant whose hashes, files or settings do not fit raises
ArtifactError, one line that names the file; nothing is ever looked up by `:latest`.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from services.errors import ArtifactError, UsageError
from services.generation.model import DECODER_NAME, ENCODER_NAME
from services.manifest import (
    MANIFEST_NAME,
    File,
    Manifest,
    read_manifest,
    refuse_twice,
    sha256_of,
)
from services.plan import Plan
from services.tasks.kinds import KINDS as KINDS
from services.tasks.kinds import Task, build_task, check_settings, check_types
from services.weights import check_weights
from services.windows import TextTokenizer

GRAPH_NAME = "model.onnx"
SEQ2SEQ_GRAPHS = (ENCODER_NAME, DECODER_NAME)
TOKENIZER_NAME = "tokenizer.json"
AGAIN = "Run `transfer build` again."

# Biggest first: the order of a comparison.
VARIANTS = ("full", "full-fp16", "full-int8", "distilled", "distilled-fp16", "distilled-int8")
CPU_DEFAULTS = ("distilled-int8", "full-int8")
CUDA_DEFAULTS = ("distilled-fp16", "full-fp16")


# By sha256, for as long as a loaded variant uses them.
_tokenizers: WeakValueDictionary[str, TextTokenizer] = WeakValueDictionary()


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


def variant_path(tag: str) -> Path:
    """The folder of a stored variant, whose manifest has the digest that the tag names."""
    import bentoml
    from bentoml.exceptions import BentoMLException

    try:
        folder = Path(bentoml.models.get(tag).path)
    except BentoMLException as error:
        raise ArtifactError(
            f"{tag} is not in BentoML's model store; the lock file names it.",
            "Run `transfer build`, or set BENTOML_HOME to the store it wrote to.",
        ) from error
    check_tag(tag, folder)
    return folder


def check_tag(tag: str, folder: Path) -> None:
    """Refuse a manifest that is not the one the tag was made from."""
    path = folder / MANIFEST_NAME
    if not path.is_file() or path.is_symlink():
        raise ArtifactError(f"{path} is not a file; a complete variant has one.", AGAIN)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    expected = tag.rpartition(":")[2]
    if digest != expected:
        raise ArtifactError(f"{path} has digest {digest}; its tag says {expected}.", AGAIN)


def check_variant(folder: Path) -> Manifest:
    """Read the manifest and check every file it names: no link, its size, its sha256; its weights.

    Raises ArtifactError.
    """
    manifest = read_manifest(folder)
    path = folder / MANIFEST_NAME
    if manifest.kind not in KINDS:
        raise ArtifactError(
            f"{path} has kind {manifest.kind!r}; this version serves {', '.join(KINDS)}.", AGAIN
        )
    if manifest.kind == "sequence-classification" and not manifest.labels:
        raise ArtifactError(f"{path} names no labels; a classifier has some.", AGAIN)
    if len(set(manifest.labels)) < len(manifest.labels) or not all(manifest.labels):
        raise ArtifactError(f"{path} has a label twice, or an empty one.", AGAIN)
    missing = {*graphs_of(manifest.kind), TOKENIZER_NAME} - {file.path for file in manifest.files}
    if missing:
        raise ArtifactError(f"{path} does not list {', '.join(sorted(missing))}.", AGAIN)
    for file in manifest.files:
        _check_file(folder, file)
    for graph in graphs_of(manifest.kind):
        check_weights(folder / graph, {file.path for file in manifest.files})
    return manifest


def _check_file(folder: Path, file: File) -> None:
    path = folder / file.path
    if "\0" in file.path or Path(file.path).is_absolute() or ".." in Path(file.path).parts:
        raise ArtifactError(f"{str(path)!r} lies outside of its variant.", AGAIN)
    try:
        status = path.lstat()
    except OSError as error:
        raise ArtifactError(f"{path} is missing; its manifest lists it.", AGAIN) from error
    if not stat.S_ISREG(status.st_mode) or path.resolve() != folder.resolve() / file.path:
        raise ArtifactError(f"{path} is a link or no regular file; expected a file.", AGAIN)
    if status.st_size != file.bytes:
        raise ArtifactError(
            f"{path} has {status.st_size} bytes; its manifest says {file.bytes}.", AGAIN
        )
    digest = sha256_of(path)
    if digest != file.sha256:
        raise ArtifactError(
            f"{path} has sha256 {digest[:16]}...; its manifest says {file.sha256[:16]}...", AGAIN
        )


def load_task(manifest: Manifest, folder: Path) -> Task:
    """The encode and decode of a variant, with its tokenizer and the settings of its manifest.

    Variants with the same `tokenizer.json` share one tokenizer: it is 6 MB for 30,522 words.
    """
    tokenizer = _tokenizer(manifest, folder)
    try:
        check_types(manifest.kind, manifest.decoding)
        task = build_task(
            manifest.kind, tokenizer, manifest.labels, manifest.max_tokens, manifest.decoding
        )
        check_settings(task)
        return task
    except ArtifactError as error:
        raise ArtifactError(f"{folder / MANIFEST_NAME}: {error.message}", error.hint) from error


def _tokenizer(manifest: Manifest, folder: Path) -> TextTokenizer:
    sha256 = next(file.sha256 for file in manifest.files if file.path == TOKENIZER_NAME)
    tokenizer = _tokenizers.get(sha256)
    if tokenizer is None:
        tokenizer = _tokenizers[sha256] = TextTokenizer.load(folder / TOKENIZER_NAME)
    return tokenizer


def graphs_of(kind: str) -> tuple[str, ...]:
    """The graphs of a variant, the one that most of the work is done by last."""
    return SEQ2SEQ_GRAPHS if kind == "seq2seq" else (GRAPH_NAME,)


def graph_sha256(manifest: Manifest) -> str:
    """Of the graph; of an encoder-decoder that of the decoder."""
    graph = graphs_of(manifest.kind)[-1]
    return next(file.sha256 for file in manifest.files if file.path == graph)


def model_entry(
    manifest: Manifest,
    *,
    default: bool,
    memory_mb: float | None = None,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """One row of `GET /models`; with a plan it is a loaded one. sha256 as `graph_sha256` says."""
    return {
        "model": manifest.model,
        "variant": manifest.variant,
        "task": manifest.task,
        "base": manifest.base.id,
        "parameters": manifest.parameters,
        "size_bytes": manifest.size_bytes,
        "quality": msgspec.to_builtins(manifest.quality),
        "sha256": graph_sha256(manifest),
        "loaded": plan is not None,
        "memory_mb": memory_mb,
        "plan": None if plan is None else asdict(plan),
        "default": default,
    }


def tags_of(lock: Mapping[str, str], tags: Iterable[str]) -> dict[str, str]:
    """The part of a lock whose tags are among `tags` (a Bento holds some of the variants)."""
    present = set(tags)
    return {key: tag for key, tag in lock.items() if tag in present}


def published_models(lock: Mapping[str, str], cuda: bool = False) -> list[dict[str, Any]]:
    """Rows as in `GET /models`, nothing loaded, and `path`: the folder with `model.onnx`."""
    variants: dict[str, list[str]] = {}
    for key in lock:
        variants.setdefault(key.split("/")[0], []).append(key.split("/")[1])
    rows = []
    for tag in lock.values():
        folder = variant_path(tag)
        manifest = read_manifest(folder)
        chosen = default_variant(manifest.model, variants[manifest.model], cuda)
        entry = model_entry(manifest, default=manifest.variant == chosen)
        rows.append({**entry, "path": str(folder)})
    return rows
