"""What a tuned model changed in its base, small enough to ship: `delta.safetensors`.

For every tensor that differs from the base one of
    NAME.int8 + NAME.scale      matrix, int8 with one float16 scale for each output row
    NAME.u.* + NAME.v.*         matrix, low rank: u (rows, rank) @ v (rank, columns), both as int8
    NAME.add                    vector, float16 difference
    NAME.new                    tensor that the base does not have (a new head), float16
Only the difference is rounded, never the base, so the error is a small part of a small change.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from services.errors import ArtifactError

Tensors = dict[str, Tensor]


def encode_delta(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], rank: int = 0) -> Tensors:
    """The difference of two state dicts; matrices in low rank, or in int8 for rank 0."""
    stored: Tensors = {}
    for name, tensor in tuned.items():
        if name not in base or base[name].shape != tensor.shape:
            stored[f"{name}.new"] = tensor.half().contiguous()
        elif not torch.equal(base[name], tensor):
            stored.update(_encode(name, tensor.float() - base[name].float(), rank))
    return stored


def apply_delta(base: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> Tensors:
    """The tuned state dict; tensors that the delta does not name stay as in the base."""
    tuned = {name: tensor.clone() for name, tensor in base.items()}
    for name in sorted({_tensor_name(key) for key in stored}):
        if f"{name}.new" in stored:
            tuned[name] = stored[f"{name}.new"].float()
            continue
        if name not in tuned:
            raise ArtifactError(
                f"The adapter changes {name}, which the base does not have.",
                "Use the base that the adapter's checkpoint.json names.",
            )
        tuned[name] = tuned[name].float() + _decode(name, stored).reshape(tuned[name].shape)
    return tuned


def _tensor_name(key: str) -> str:
    for ending in (".int8", ".scale"):
        key = key.removesuffix(ending)
    for ending in (".add", ".new", ".u", ".v"):
        key = key.removesuffix(ending)
    return key


def _encode(name: str, change: Tensor, rank: int) -> Tensors:
    if change.ndim < 2:
        return {f"{name}.add": change.half().contiguous()}
    change = change.flatten(1)
    if not rank or rank >= min(change.shape):
        return _quantized(name, change)
    u, values, v = torch.linalg.svd(change, full_matrices=False)
    root = values[:rank].sqrt()
    return {
        **_quantized(f"{name}.u", u[:, :rank] * root),
        **_quantized(f"{name}.v", root[:, None] * v[:rank]),
    }


def _decode(name: str, stored: Mapping[str, Tensor]) -> Tensor:
    if f"{name}.add" in stored:
        return stored[f"{name}.add"].float()
    if f"{name}.int8" in stored:
        return _restored(name, stored)
    return _restored(f"{name}.u", stored) @ _restored(f"{name}.v", stored)


def _quantized(name: str, matrix: Tensor) -> Tensors:
    """Symmetric int8, one scale for each row."""
    scale = (matrix.abs().amax(dim=1) / 127.0).clamp(min=6e-8).half()
    rounded = (matrix / scale.float()[:, None]).round().clamp(-127, 127)
    return {f"{name}.int8": rounded.to(torch.int8).contiguous(), f"{name}.scale": scale}


def _restored(name: str, stored: Mapping[str, Tensor]) -> Tensor:
    return stored[f"{name}.int8"].float() * stored[f"{name}.scale"].float()[:, None]
