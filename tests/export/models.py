"""Checkpoints on the tiny bases, made by noise in place of training: their answers differ from text
to text, and they are there in an instant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from export.adapter import pack, read_card
from export.variants import Source
from services.manifest import sha256_of
from training.bases import WEIGHTS, resolve
from training.checkpoint import (
    Description,
    asdict_base,
    read_description,
    write_description,
    write_json,
)
from training.data import sample_rows
from training.models import build_student, count_parameters, load_model

LABELS = ["account", "billing", "returns", "shipping"]
TASKS = {
    "sequence-classification": "classify",
    "question-answering": "qa",
    "sentence-extraction": "summarize",
    "seq2seq": "summarize",
    "zero-shot": "classify",
}
DECODING: dict[str, dict[str, Any]] = {
    "sequence-classification": {"stride": 16, "threshold": 0.1},
    "question-answering": {"stride": 32, "null_bias": 0.5},
    "sentence-extraction": {"stride": 32, "max_sentences": 2},
    "seq2seq": {"max_new_tokens": 12},
}
MAX_TOKENS = 128
QUALITY = {
    "metric": "accuracy",
    "value": 0.8,
    "ci_low": 0.7,
    "ci_high": 0.9,
    "n": 40,
    "data": "made up",
}


def write_mlm_base(folder: Path, bert: Path) -> Path:
    """The tiny BERT as bases come that were published with their language model head: no pooler."""
    torch.manual_seed(11)
    BertForMaskedLM(BertConfig.from_pretrained(bert)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(bert).save_pretrained(folder)
    return folder


def spread(model: torch.nn.Module, size: float) -> None:
    """Move all parameters by noise of that size."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(size * torch.randn_like(parameter))


def description(base: Path, kind: str, name: str = "tiny", **changes: Any) -> Description:
    values: dict[str, Any] = {
        "model": name,
        "kind": kind,
        "task": TASKS[kind],
        "role": "full",
        "base": asdict_base(resolve(str(base))),
        "base_source": str(base),
        "recipe_digest": "1" * 64,
        "labels": LABELS if kind == "sequence-classification" else [],
        "max_tokens": MAX_TOKENS,
        "decoding": DECODING.get(kind, {}),
        "description": "A tiny model for tests.",
        "licence": "Apache-2.0",
        "attribution": "made up",
    }
    return Description(**{**values, **changes})


def metrics(kind: str, parameters: int) -> dict[str, Any]:
    """As `metrics.json` of a training has it."""
    return {
        "test": {"metric": "accuracy", "value": 0.5, "n": 4, "data": "made up"},
        "train": {
            "wall_time_s": 60.0,
            "tokens_per_s": 1000,
            "rows": 10,
            "strategy": "full",
            "seed": 7,
            "parameters": parameters,
            "parameters_trained": parameters,
            "threads": 2,
        },
    }


def write_checkpoint(
    folder: Path,
    base: Path,
    kind: str,
    name: str = "tiny",
    layers: tuple[int, ...] = (),
    change: float = 0.1,
    **changes: Any,
) -> Path:
    """A checkpoint of `kind` whose weights moved away from the base; a student with `layers`."""
    role = {"role": "distilled", "parent": "2" * 64} if layers else {}
    described = description(base, kind, name, layers=list(layers), **{**role, **changes})
    torch.manual_seed(len(kind) + len(layers))
    model = load_model(kind, base, described.labels, described.pooling)
    model = build_student(model, layers) if layers else model
    spread(model, change)
    return save(folder, model, described)


def save(folder: Path, model: Any, described: Description) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    base = Path(described.base_source)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    write_description(folder, described)
    write_json(folder / "metrics.json", metrics(described.kind, count_parameters(model)))
    assert described.base["sha256"] == sha256_of(base / WEIGHTS)
    return folder


def sources(folder: Path, base: Path, kind: str, **changes: Any) -> Source:
    """What variants are made from, on the sample data that ships."""
    if kind == "zero-shot":
        described, made = description(base, kind, **changes), base
    else:
        made = write_checkpoint(folder, base, kind, **changes)
        described = read_description(made)
    rows = sample_rows("sequence-classification" if kind == "zero-shot" else kind)
    card = {"int8_agreement": 0.3, "quality": {"fp32": QUALITY}}
    return Source(load_model(kind, made), described, made / "tokenizer.json", card, rows)


def write_adapters(root: Path, base: Path, work: Path, name: str = "tiny") -> Path:
    """`root`/NAME/{full,distilled}: adapters of a classifier and of its student."""
    for role, layers in (("full", ()), ("distilled", (0, 2))):
        checkpoint = work / f"{name}-{role}"
        write_checkpoint(checkpoint, base, "sequence-classification", name, layers=layers)
        adapter = pack(checkpoint, root / name / role)
        card = {**read_card(adapter), "int8_agreement": 0.3}
        write_json(adapter / "card.json", card)
    return root


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
