"""Where a published variant is, whether its files are what they claim, and how it is decoded.

In: tags of BentoML's model store, as `services.lock` has them. Out: folders, checked manifests and
task objects. A variant whose hashes, files or settings do not fit raises ArtifactError, one line
that names the file; nothing is ever looked up by `:latest`.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from services.errors import ArtifactError
from services.generation.model import DECODER_NAME, ENCODER_NAME
from services.lock import default_variant
from services.manifest import AGAIN, MANIFEST_NAME, File, Manifest, read_manifest, sha256_of
from services.plan import Plan
from services.tasks.kinds import KINDS as KINDS
from services.tasks.kinds import Task, build_task, check_settings, check_types
from services.weights import check_weights
from services.windows import TextTokenizer

GRAPH_NAME = "model.onnx"
SEQ2SEQ_GRAPHS = (ENCODER_NAME, DECODER_NAME)
TOKENIZER_NAME = "tokenizer.json"

# By sha256, for as long as a loaded variant uses them.
_tokenizers: WeakValueDictionary[str, TextTokenizer] = WeakValueDictionary()


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

    The folder itself is no link either; those above it may be. Raises ArtifactError.
    """
    if folder.is_symlink():
        raise ArtifactError(f"{folder} is a link; a variant has a folder of its own.", AGAIN)
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
    check_files(folder, manifest)
    for graph in graphs_of(manifest.kind):
        check_weights(folder / graph, {file.path for file in manifest.files})
    return manifest


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise ArtifactError for a file that is not what the manifest says: no link, size, sha256."""
    for file in manifest.files:
        _check_file(folder, file)


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


def plan_digest(manifest: Manifest) -> str:
    """Of all that decides how fast the graphs are: of one its sha256; of two also the beams."""
    names = graphs_of(manifest.kind)
    if len(names) == 1:
        return graph_sha256(manifest)
    parts = [file.sha256 for name in names for file in manifest.files if file.path == name]
    beams = manifest.decoding.get("num_beams", 1)
    return hashlib.sha256(" ".join([*parts, f"{beams} beams"]).encode()).hexdigest()


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
