"""Ways to ship what a full tuning changed, compared by quality for bytes.

    transfer results ways checkpoint=checkpoints/intent loras=checkpoints/loras data=PATH

The same finished checkpoint, packed as an SVD of the difference at several ranks and as int8 for
each row; beside them LoRAs (Hu et al. 2022) that were trained as such. Each is unpacked again, as
`transfer build` does, and scored on the test rows in PyTorch, fp32.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from export.adapter import pack, read_record, unpack
from export.plots.scatter import Point, scatter
from services.errors import TransferError, UsageError
from services.windows import TextTokenizer
from training.bases import WEIGHTS
from training.checkpoint import METRICS_NAME, read_description, task_of
from training.evaluate import Evaluation, evaluate, paired_loss
from training.held_out import Exam
from training.models import TorchRunner, load_model
from training.studies.spread import why_fewer

RANKS = (8, 16, 32, 64, 96, 128)
FAR = 0.1  # a loss that would squeeze the plot
NEAR = 0.005  # a way is good enough when it loses less than that

Way = dict[str, Any]


def compare_ways(
    checkpoint: Path,
    loras: Sequence[Path],
    work: Path,
    exam: Exam,
    ranks: Sequence[int] = RANKS,
    advance: Callable[[str], None] = lambda done: None,
) -> dict[str, Any]:
    """The record: bytes, quality and loss of every way.

    loras: finished LoRA checkpoints of the same recipe; work: folder for adapters and what is
    unpacked from them
    """
    whole = _scored(checkpoint, exam)
    record = {
        "model": read_description(checkpoint).model,
        "data": exam.data,
        "ways": [{**_entry("whole", (checkpoint / WEIGHTS).stat().st_size, whole, whole)}],
    }
    jobs = [(f"svd-{rank}", checkpoint, rank) for rank in ranks]
    jobs += [("int8", checkpoint, 0), *((_lora_name(folder), folder, 0) for folder in loras)]
    for name, folder, rank in jobs:
        adapter = pack(folder, work / name / "adapter", rank)
        weights = adapter / read_record(adapter)["weights"]
        found = _scored(unpack(adapter, work / name / "checkpoint"), exam)
        record["ways"].append(_entry(name, weights.stat().st_size, found, whole))
        advance(name)
    return record


def find_loras(folder: Path) -> list[Path]:
    """The finished LoRA checkpoints below a folder, by name; raises UsageError without any."""
    found = [path.parent for path in sorted(folder.glob(f"*/{METRICS_NAME}"))]
    if not found:
        raise UsageError(
            f"{folder} holds no finished checkpoint.",
            "Train some: `transfer train intent strategy=lora lora_r=16 out=FOLDER/r16`.",
        )
    return found


def _lora_name(folder: Path) -> str:
    path = folder / "adapter" / "adapter_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TransferError(
            f"{folder} is no LoRA checkpoint: {path.name} cannot be read ({error}).",
            "Train it with `strategy=lora`.",
            code="bad_checkpoint",
        ) from error
    return f"lora-{config['r']}"


def _scored(checkpoint: Path, exam: Exam) -> Evaluation:
    description = read_description(checkpoint)
    task = task_of(description, TextTokenizer.load(checkpoint / "tokenizer.json"))
    model = load_model(description.kind, checkpoint)
    infer = TorchRunner(model, description.kind, task.tokenizer.pad_id)
    return evaluate(task, exam.rows, infer, exam.out_of_scope, exam.summary_sentences)


def _entry(name: str, size_bytes: int, found: Evaluation, whole: Evaluation) -> Way:
    loss, low, high = paired_loss(whole, found)
    return {
        "way": name,
        "bytes": size_bytes,
        **found.record(),
        "loss": {"value": loss, "ci_low": low, "ci_high": high},
    }


def verdict(record: Mapping[str, Any]) -> str:
    """One sentence: the smallest way that loses next to nothing."""
    ways = [way for way in record["ways"] if way["way"] != "whole"]
    near = [way for way in ways if way["loss"]["value"] < NEAR]
    if not near:
        best = min(ways, key=lambda way: way["loss"]["value"])
        return f"None stays within {NEAR:.1%} of the whole; {best['way']} comes nearest."
    least = min(near, key=lambda way: way["bytes"])
    return (
        f"The smallest that loses less than {NEAR:.1%} is {least['way']}: "
        f"{least['bytes'] / 1e6:.2f} MB, {least['metric']} {least['value']:.4f}."
    )


def table(record: Mapping[str, Any]) -> str:
    """By size, smallest first, as Markdown."""
    metric = record["ways"][0]["metric"]
    lines = [
        f"| way | MB | {metric} | 95 % interval | loses against the whole | {metric} per MB |",
        "|---|---:|---:|---|---|---:|",
    ]
    for way in sorted(record["ways"], key=lambda way: way["bytes"]):
        loss, size_mb = way["loss"], way["bytes"] / 1e6
        lines.append(
            f"| {way['way']} | {size_mb:.2f} | {way['value']:.4f} | {way['ci_low']:.4f} to "
            f"{way['ci_high']:.4f} | {loss['value']:+.4f} ({loss['ci_low']:+.4f} to "
            f"{loss['ci_high']:+.4f}) | {way['value'] / size_mb:.2f} |"
        )
    lines += [
        "",
        f"`{record['model']}`, {record['ways'][0]['n']:,} test rows ({record['data']}), PyTorch "
        "fp32; losses are paired. `whole`: the checkpoint's own fp32 weights. `svd-R` and `int8` "
        "store its difference from the base; `lora-R` is another training, stored as PEFT does in "
        f"fp32. {verdict(record)}{why_fewer(record)}",
    ]
    return "\n".join(lines)


def plot(record: Mapping[str, Any]) -> str:
    """Quality over megabytes, as SVG; what loses far more stands in the table alone."""
    points = [
        Point(
            way["bytes"] / 1e6,
            way["value"],
            way["ci_low"],
            way["ci_high"],
            way["way"],
            way["way"].partition("-")[0],
        )
        for way in record["ways"]
        if way["loss"]["value"] < FAR
    ]
    metric = record["ways"][0]["metric"]
    return scatter(points, f"Ways to ship {record['model']}", "megabytes, logarithmic", metric)
