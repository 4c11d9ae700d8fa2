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
from collections.abc import Set
from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from export.delta import apply_delta, encode_delta
from export.place import new_folder
from export.stamps import RECORD_NAME
from services.errors import ArtifactError, TransferError
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

CARD_NAME = "card.json"
DELTA_NAME = "delta.safetensors"
PEFT_NAME = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"


def pack(checkpoint: Path, out: Path, rank: int = 0) -> Path:
    """Write the adapter of `checkpoint` to `out`: PEFT's files for LoRA, else the difference.

    The difference is also what is kept of a LoRA whose files lack a part of the head.

    rank: of the stored difference of matrices; 0 keeps all of it in int8. What `out` held before
    is gone. Raises TransferError for an unfinished checkpoint, ArtifactError for another base.
    """
    description, metrics = read_description(checkpoint), read_metrics(checkpoint)
    base = resolve(description.base_source)
    refuse_other_base(description, base, checkpoint)
    shape, reference = _on_base(description, base)
    new = shape.state_dict().keys() - reference.keys()
    with new_folder(out) as scratch:
        if _is_whole_lora(checkpoint / "adapter" / PEFT_NAME, new):
            weights, method = _pack_lora(checkpoint / "adapter", description, scratch), "lora"
        else:
            tuned = load_model(description.kind, checkpoint).state_dict()
            weights, method = DELTA_NAME, f"svd-{rank}" if rank else "int8"
            save_file(encode_delta(reference, tuned, rank), scratch / weights)
        shutil.copy(checkpoint / DESCRIPTION_NAME, scratch / DESCRIPTION_NAME)
        write_json(scratch / CARD_NAME, metrics)
        record = {"method": method, "weights": weights, "sha256": sha256_of(scratch / weights)}
        write_json(scratch / RECORD_NAME, record)
    return out


def _is_whole_lora(weights: Path, new: Set[str]) -> bool:
    """Whether PEFT's file is there and holds every tensor that the base does not have.

    PEFT keeps the heads that it knows by name; of DistilBERT's it leaves out `pre_classifier`.
    """
    if not weights.is_file():
        return False
    with safe_open(weights, "pt") as file:
        return new <= {key.removeprefix("base_model.model.") for key in file.keys()}  # noqa: SIM118


def _pack_lora(folder: Path, description: Description, out: Path) -> str:
    """PEFT's two files; its config names the base by a path of this machine, ours by its id."""
    shutil.copy(folder / PEFT_NAME, out / PEFT_NAME)
    config = json.loads((folder / PEFT_CONFIG).read_text(encoding="utf-8"))
    write_json(out / PEFT_CONFIG, {**config, "base_model_name_or_path": description.base["id"]})
    return PEFT_NAME


def unpack(adapter: Path, out: Path) -> Path:
    """Rebuild the checkpoint of an adapter in `out`; raises ArtifactError for a damaged one."""
    record, card = read_record(adapter), read_card(adapter)
    description = read_description(adapter)
    base = resolve(description.base_source)
    refuse_other_base(description, base, adapter)
    try:
        model = _tuned(adapter, record["method"], description, base)
    except (RuntimeError, ValueError, KeyError) as error:  # torch, PEFT: tensors that do not fit
        raise ArtifactError(
            f"{adapter / record['weights']} does not fit its base: {str(error).splitlines()[0]}",
            "Pack the checkpoint again with this version.",
        ) from error
    with new_folder(out) as scratch:
        model.save_pretrained(scratch)
        AutoTokenizer.from_pretrained(base.path, use_fast=True).save_pretrained(scratch)
        shutil.copy(adapter / DESCRIPTION_NAME, scratch / DESCRIPTION_NAME)
        write_json(scratch / METRICS_NAME, card)
    return out


def _tuned(adapter: Path, method: str, description: Description, base: ResolvedBase) -> Any:
    if method == "lora":
        plain = load_model(description.kind, base.path, description.labels, description.pooling)
        return PeftModel.from_pretrained(plain, str(adapter)).merge_and_unload()
    model, reference = _on_base(description, base)
    model.load_state_dict(apply_delta(reference, _weights(adapter)))
    return model


def read_record(adapter: Path) -> dict[str, str]:
    """`adapter.json`, with the weights' hash checked."""
    path = adapter / RECORD_NAME
    try:
        record: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        weights = adapter / record["weights"]
        found = sha256_of(weights)
    except (OSError, ValueError, KeyError, TypeError) as error:
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
    """`card.json`: what was measured."""
    path = adapter / CARD_NAME
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}).", "Check it out again with git."
        ) from error
    return card


def read_metrics(checkpoint: Path) -> dict[str, Any]:
    """`metrics.json`; raises TransferError for a checkpoint whose training did not finish."""
    path = checkpoint / METRICS_NAME
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TransferError(
            f"{checkpoint} is not a finished checkpoint: {METRICS_NAME} cannot be read ({error}).",
            "Let its training end: run the same command again, it goes on where it stopped.",
            code="bad_checkpoint",
        ) from error
    return metrics


def refuse_other_base(description: Description, base: ResolvedBase, adapter: Path) -> None:
    expected = description.base["sha256"]
    if base.sha256 != expected:
        raise ArtifactError(
            f"{adapter} belongs to a base with sha256 {expected[:16]}...; "
            f"{base.id} has {base.sha256[:16]}...",
            "Train the adapter again on this base.",
        )


def _on_base(description: Description, base: ResolvedBase) -> tuple[Any, dict[str, Tensor]]:
    """A model of the checkpoint's shape, and what of it the difference is taken from.

    That is the base's own weights, thinned to the kept layers, without everything that the base
    does not have and that starts from random numbers: a new head, or a pooler.
    """
    model, info = load_model(
        description.kind,
        base.path,
        description.labels,
        description.pooling,
        output_loading_info=True,
    )
    if description.layers:
        model = build_student(model, description.layers)
    new = set(info["missing_keys"])
    state: dict[str, Tensor] = model.state_dict()
    return model, {name: tensor for name, tensor in state.items() if name not in new}


def _weights(adapter: Path) -> dict[str, Tensor]:
    try:
        return load_file(adapter / DELTA_NAME)
    except Exception as error:  # safetensors raises its own bare type
        raise ArtifactError(f"{adapter / DELTA_NAME} cannot be read: {error}.") from error
