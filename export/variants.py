"""One checkpoint in, its verified variants out: `full` and `full-int8`, or `distilled` and so on.

    variants/intent/full/{model.onnx,tokenizer.json,manifest.json}
    variants/dialogsum/full/{encoder_model.onnx,decoder_model_merged.onnx,...}

A variant is made in a scratch folder beside its place and moved there when its gate held and its
manifest is written, so a folder with that name is always complete, and nothing stays of a refused
one.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from export.embeddings import data_name
from export.half import against_fp32, require_cuda
from export.place import new_folder
from export.quantize import to_fp16, to_int8
from export.to_onnx import OPSET, graph_names, to_onnx
from export.verify import (
    FP16_AGREEMENT,
    MIN_ROWS,
    GateError,
    compare,
    require_agreement,
    require_parity,
    with_labels,
)
from export.verify_writing import (
    GraphWriter,
    TorchWriter,
    compare_writing,
    require_same_writing,
    verified_task,
)
from services.manifest import Manifest, Parity, Quality, describe_files, write_manifest
from services.registry import TOKENIZER_NAME, graphs_of
from services.runtime import CPU, CUDA, Runtime
from services.tasks.generate_summary import MOST_NEW_TOKENS, GenerateSummarySettings
from services.tasks.kinds import KINDS
from services.writer import Writer
from training.checkpoint import Description, base_of
from training.models import TorchRunner, count_parameters

Card = Mapping[str, Any]
INT8_AGREEMENT = 0.9  # floor where no card says more
INT8_WORDS = 0.6  # likewise for generated summaries, of their words
PRECISION_SUFFIX = {"fp32": "", "int8": "-int8", "fp16": "-fp16"}
QUALITY_FIELDS = ("metric", "value", "n", "data", "ci_low", "ci_high")


@dataclass(frozen=True)
class Source:
    """What a set of variants is made from.

    model: the transformers model
    card: what was measured: `quality` by precision, and `int8_agreement`
    rows: sample rows to verify on, at least 100
    """

    model: Any
    description: Description
    tokenizer_file: Path
    card: Card
    rows: Sequence[Any]


def export_variants(
    source: Source,
    out: Path,
    fp16: bool = False,
    advance: Callable[[str], None] = lambda done: None,
) -> list[Path]:
    """Write the variants of `source` below `out` and return their folders.

    fp16 variants are verified on a GPU: where there is none, asking for them is UnavailableError.
    The others are verified on the CPU, so that a gate says the same on every machine. Raises
    GateError.
    """
    if fp16:
        require_cuda("fp16 variants are verified on a GPU")
    if len(source.rows) < MIN_ROWS:
        raise GateError(f"{len(source.rows)} sample texts to verify on; expected {MIN_ROWS}.")
    folders = [_fp32(source, out)]
    advance(folders[0].name)
    for precision in ("int8", *(("fp16",) if fp16 else ())):
        folders.append(_smaller(source, folders[0], out, precision))
        advance(folders[-1].name)
    return folders


def _fp32(source: Source, out: Path) -> Path:
    folder, kind = _place(source, out, "fp32"), source.description.kind
    with new_folder(folder) as scratch:
        to_onnx(source.model, kind, source.tokenizer_file, scratch)
        _keep_only(scratch, {*graphs_of(kind), *map(data_name, graphs_of(kind)), TOKENIZER_NAME})
        manifest = make_manifest(source, scratch, "fp32")
        write_manifest(scratch, manifest)
        parity = _against_torch(source, Runtime.load(scratch, "cpu"))
        write_manifest(scratch, msgspec.structs.replace(manifest, parity=parity))
    return folder


def _against_torch(source: Source, runtime: Runtime) -> Parity:
    """The build gate of the fp32 graphs."""
    name = runtime.manifest.name
    if isinstance(runtime, Writer):
        task = verified_task(runtime)
        graphs, before = GraphWriter(runtime), TorchWriter(source.model, task.settings)
        parity = compare_writing(task, source.rows, before, graphs, exact=True)
        require_same_writing(name, parity)
        return parity
    task = with_labels(runtime.task, source.rows)
    torch_runner = TorchRunner(
        source.model, source.description.kind, task.tokenizer.pad_id, batch_tokens=2048
    )
    parity = compare(task, source.rows, torch_runner, runtime.infer)
    require_parity(name, parity)
    return parity


def _smaller(source: Source, parent: Path, out: Path, precision: str) -> Path:
    folder = _place(source, out, precision)
    make = to_int8 if precision == "int8" else to_fp16
    with new_folder(folder) as scratch:
        for graph in graphs_of(source.description.kind):
            make(parent / graph, scratch / graph)
        shutil.copy(parent / TOKENIZER_NAME, scratch / TOKENIZER_NAME)
        manifest = make_manifest(source, scratch, precision)
        write_manifest(scratch, manifest)
        parity = against_fp32(
            Runtime.load(parent, "cpu"),
            Runtime.load(scratch, "cuda" if precision == "fp16" else "cpu"),
            source.rows,
        )
        floor = _agreement_floor(source, precision)
        require_agreement(manifest.name, parity, floor)
        write_manifest(scratch, msgspec.structs.replace(manifest, parity=parity))
    return folder


def _agreement_floor(source: Source, precision: str) -> float:
    if precision == "fp16":
        return FP16_AGREEMENT
    writes = source.description.kind == "seq2seq"
    floor: float = source.card.get("int8_agreement", INT8_WORDS if writes else INT8_AGREEMENT)
    return floor


def _place(source: Source, out: Path, precision: str) -> Path:
    """Where the variant will be."""
    description = source.description
    return out / description.model / (description.role + PRECISION_SUFFIX[precision])


def _keep_only(folder: Path, names: set[str]) -> None:
    """Optimum also writes configs that nothing here reads."""
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()


def make_manifest(source: Source, folder: Path, precision: str) -> Manifest:
    """Everything `manifest.json` says, parity left open."""
    description = source.description
    inputs, outputs = _inputs_and_outputs(folder, description.kind)
    variant = description.role + PRECISION_SUFFIX[precision]
    return Manifest(
        name=f"{description.model}/{variant}",
        task=description.task,
        kind=description.kind,
        model=description.model,
        variant=variant,
        base=base_of(description),
        parent=description.parent,
        recipe_digest=description.recipe_digest,
        git_commit=_git_commit(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        labels=description.labels,
        max_tokens=description.max_tokens,
        inputs=inputs,
        outputs=outputs,
        precision=precision,
        provider=CUDA if precision == "fp16" else CPU,
        opset=OPSET,
        files=describe_files(folder),
        parameters=count_parameters(source.model),
        quality=quality_of(source.card, precision),
        parity=None,
        licence=description.licence,
        attribution=description.attribution,
        decoding=_decoding(source),
    )


def _inputs_and_outputs(folder: Path, kind: str) -> tuple[list[str], list[str]]:
    """Of an encoder-decoder what goes into the encoder, and what comes of the whole."""
    first, *others = graphs_of(kind)
    inputs, outputs = graph_names(folder / first)
    return inputs, list(KINDS[kind][2]) if others else outputs


def _decoding(source: Source) -> dict[str, Any]:
    """How outputs become answers: as training chose it; for a model that writes also its own way.

    Raises UsageError when its generation config asks for what is not served.
    """
    description = source.description
    if description.kind != "seq2seq":
        return description.decoding
    chosen = description.decoding
    config = {**source.model.generation_config.to_dict(), **chosen}
    most = max(MOST_NEW_TOKENS, chosen.get("max_new_tokens", 0))
    positions = getattr(source.model.config, "max_position_embeddings", None) or most
    settings = GenerateSummarySettings.from_checkpoint(config, most_new_tokens=min(most, positions))
    return {name: value for name, value in asdict(settings).items() if name != "max_tokens"}


def quality_of(card: Card, precision: str) -> Quality | None:
    """What the card says of a precision; None where it was not measured."""
    found = card.get("quality", {}).get(precision)
    if found is None:
        return None
    return Quality(**{name: found[name] for name in QUALITY_FIELDS if name in found})


def _git_commit() -> str:
    """Of the checkout that builds; empty outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
