"""fp16 variants of fp32 variants that are built already, verified on this machine's GPU.

    transfer half variants/          # MODEL/full -> MODEL/full-fp16, and so on

In: folders of built variants (`.cache/build/variants`, or copies of them). Out: their fp16
siblings, each complete or not there. Nothing is trained or exported again and no torch is needed
for models that read, so a machine that only has a GPU, ONNX Runtime and the variants can do it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from export.place import new_folder
from export.quantize import to_fp16
from export.verify import FP16_AGREEMENT, compare, require_agreement, with_labels
from services.errors import UsageError
from services.manifest import (
    MANIFEST_NAME,
    Manifest,
    Parity,
    describe_files,
    read_manifest,
    write_manifest,
)
from services.providers import CUDA, UnavailableError, cuda_fault
from services.registry import TOKENIZER_NAME, check_variant, graphs_of
from services.runtime import Runtime
from services.writer import Writer

RowsOf = Callable[[str], Sequence[Any]]
SUFFIX = "-fp16"


def halve_all(
    variants: Path, rows_of: RowsOf, advance: Callable[[str], None] = lambda done: None
) -> list[Path]:
    """The fp16 sibling of every fp32 variant below `variants`; returns their folders.

    rows_of: sample rows by kind of model
    Raises UsageError where there is no fp32 variant or no GPU, GateError where fp16 says otherwise.
    """
    parents = [folder for folder in built_variants(variants) if _is_fp32(folder)]
    if not parents:
        raise UsageError(
            f"{variants} has no fp32 variant; expected MODEL/VARIANT/{MANIFEST_NAME}.",
            "Run `transfer build` and name .cache/build/variants.",
        )
    require_cuda("fp16 variants are verified on a GPU")
    folders = []
    for parent in parents:
        kind = read_manifest(parent).kind
        rows = rows_of("sequence-classification" if kind == "zero-shot" else kind)
        folders.append(halve(parent, rows))
        advance(f"{parent.parent.name}/{folders[-1].name}")
    return folders


def require_cuda(why: str) -> None:
    """Raises UnavailableError, beginning with `why`, where CUDA does not work."""
    if fault := cuda_fault():
        raise UnavailableError(f"{why}; here {fault[0]}.", fault[1])


def built_variants(folder: Path) -> Iterator[Path]:
    """Folders of variants below `folder`, two levels down."""
    return (path.parent for path in sorted(folder.glob(f"[!.]*/[!.]*/{MANIFEST_NAME}")))


def _is_fp32(folder: Path) -> bool:
    return read_manifest(folder).precision == "fp32"


def halve(parent: Path, rows: Sequence[Any]) -> Path:
    """The fp16 sibling of one fp32 variant, compared with it on `rows`; raises GateError."""
    manifest = check_variant(parent)
    out = parent.with_name(parent.name + SUFFIX)
    with new_folder(out) as scratch:
        for graph in graphs_of(manifest.kind):
            to_fp16(parent / graph, scratch / graph)
        shutil.copy(parent / TOKENIZER_NAME, scratch / TOKENIZER_NAME)
        half = half_manifest(manifest, scratch)
        write_manifest(scratch, half)
        parity = against_fp32(Runtime.load(parent, "cpu"), Runtime.load(scratch, "cuda"), rows)
        require_agreement(half.name, parity, FP16_AGREEMENT)
        write_manifest(scratch, msgspec.structs.replace(half, parity=parity))
    return out


def half_manifest(manifest: Manifest, folder: Path) -> Manifest:
    """As the fp32 variant's; its quality was not measured in fp16."""
    return msgspec.structs.replace(
        manifest,
        name=manifest.name + SUFFIX,
        variant=manifest.variant + SUFFIX,
        precision="fp16",
        provider=CUDA,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files=describe_files(folder),
        quality=None,
        parity=None,
    )


def against_fp32(parent: Runtime, runtime: Runtime, rows: Sequence[Any]) -> Parity:
    """How far a smaller graph agrees with the fp32 one that it was made from."""
    if isinstance(parent, Writer) and isinstance(runtime, Writer):
        from export.verify_writing import GraphWriter, compare_writing, verified_task

        task = verified_task(runtime)
        before, after = GraphWriter(parent), GraphWriter(runtime)
        return compare_writing(task, rows, before, after, exact=False)
    labelled = with_labels(runtime.task, rows)
    return compare(labelled, rows, parent.infer, runtime.infer)
