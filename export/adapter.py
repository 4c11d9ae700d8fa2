"""Adapters: the small files that ship, made from checkpoints and turned back into them.

    transfer pack checkpoints/intent adapters/intent/full rank=64
    unpack(Path("adapters/intent/full"), Path("checkpoints/intent-again"))

An adapter folder holds checkpoint.json (what it is), card.json (what was measured), README.md (the
card for people), adapter.json (how it is stored, with its sha256) and either `delta.safetensors`
or PEFT's `adapter_model.safetensors` with `adapter_config.json`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from export.delta import apply_delta, encode_delta
from services.errors import ArtifactError
from services.manifest import sha256_of
from training.bases import ResolvedBase, resolve
from training.checkpoint import (
    DESCRIPTION_NAME,
    METRICS_NAME,
    Description,
    read_description,
    write_json,
)
from training.models import build_student, load_model

RECORD_NAME = "adapter.json"
CARD_NAME = "card.json"
DELTA_NAME = "delta.safetensors"
PEFT_NAME = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"


def pack(checkpoint: Path, out: Path, rank: int = 0) -> Path:
    """Write the adapter of `checkpoint` to `out`: PEFT's files for LoRA, else the difference.

    rank: of the stored difference of matrices; 0 keeps all of it in int8
    """
    description = read_description(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(checkpoint / DESCRIPTION_NAME, out / DESCRIPTION_NAME)
    lora = checkpoint / "adapter" / PEFT_NAME
    if lora.is_file():
        shutil.copy(lora, out / PEFT_NAME)
        shutil.copy(lora.with_name(PEFT_CONFIG), out / PEFT_CONFIG)
        weights, method = PEFT_NAME, "lora"
    else:
        tuned = load_model(description.kind, checkpoint).state_dict()
        save_file(encode_delta(_reference(description), tuned, rank), out / DELTA_NAME)
        weights, method = DELTA_NAME, f"svd-{rank}" if rank else "int8"
    record = {"method": method, "weights": weights, "sha256": sha256_of(out / weights)}
    write_json(out / RECORD_NAME, record)
    return out


def unpack(adapter: Path, out: Path) -> Path:
    """Rebuild the checkpoint of an adapter in `out`; raises ArtifactError for a damaged one."""
    record = read_record(adapter)
    description = read_description(adapter)
    base = resolve(description.base_source)
    refuse_other_base(description, base, adapter)
    if record["method"] == "lora":
        plain = load_model(description.kind, base.path, description.labels)
        model: Any = PeftModel.from_pretrained(plain, str(adapter)).merge_and_unload()
    else:
        model = _shape(description, base)
        model.load_state_dict(apply_delta(_on_base(model, description), _weights(adapter)))
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(base.path, use_fast=True).save_pretrained(out)
    shutil.copy(adapter / DESCRIPTION_NAME, out / DESCRIPTION_NAME)
    shutil.copy(adapter / CARD_NAME, out / METRICS_NAME)
    return out


def read_record(adapter: Path) -> dict[str, str]:
    """`adapter.json`, with the weights' hash checked."""
    path = adapter / RECORD_NAME
    try:
        record: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        weights = adapter / record["weights"]
        found = sha256_of(weights)
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(
            f"{adapter} is not a complete adapter ({error}).", "Check it out again with git."
        ) from error
    if found != record["sha256"]:
        raise ArtifactError(
            f"{weights} has sha256 {found[:16]}...; {RECORD_NAME} says {record['sha256'][:16]}...",
            "Check the file out again with git.",
        )
    return record


def read_card(adapter: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((adapter / CARD_NAME).read_text(encoding="utf-8"))
    return card


def refuse_other_base(description: Description, base: ResolvedBase, adapter: Path) -> None:
    expected = description.base["sha256"]
    if base.sha256 != expected:
        raise ArtifactError(
            f"{adapter} belongs to a base with sha256 {expected[:16]}...; "
            f"{base.id} has {base.sha256[:16]}...",
            "Train the adapter again on this base.",
        )


def _shape(description: Description, base: ResolvedBase) -> Any:
    """A model of the checkpoint's shape: the base with its head, thinned to the kept layers."""
    model = load_model(description.kind, base.path, description.labels)
    return build_student(model, description.layers) if description.layers else model


def _reference(description: Description) -> dict[str, Tensor]:
    """What the difference is taken from: the base's own weights in the checkpoint's shape."""
    return _on_base(_shape(description, resolve(description.base_source)), description)


def _on_base(model: Any, description: Description) -> dict[str, Tensor]:
    """The state dict without a head that started from random numbers."""
    state: Mapping[str, Tensor] = model.state_dict()
    prefix = f"{model.base_model_prefix}."
    return {name: tensor for name, tensor in state.items() if name.startswith(prefix)}


def _weights(adapter: Path) -> dict[str, Tensor]:
    try:
        return load_file(adapter / DELTA_NAME)
    except Exception as error:  # safetensors raises its own bare type
        raise ArtifactError(f"{adapter / DELTA_NAME} cannot be read: {error}.") from error
