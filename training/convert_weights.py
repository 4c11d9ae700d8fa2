"""`pytorch_model.bin` to `model.safetensors`, for hub bases that have no other.

The old format is a pickle. It is read by `torch.load(weights_only=True)`, which makes tensors and
runs no code of the file.
"""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from services.errors import TransferError

OLD = "pytorch_model.bin"
CONVERTED = Path(__file__).parent.parent / ".cache" / "bases"


def converted(folder: Path, weights: str, cache: Path = CONVERTED) -> Path:
    """A folder with the same files and `weights` beside them; made once, its weights last.

    folder: of one revision, with `pytorch_model.bin`. Raises TransferError for a file that holds
    more than tensors.
    """
    out = cache / f"{folder.parent.parent.name}-{folder.name}"
    if (out / weights).is_file():
        return out
    state = _tensors(folder / OLD)
    out.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.name != OLD:
            shutil.copy(path, out / path.name)
    part = out / f"{weights}.part"
    save_file(state, part, metadata={"format": "pt"})
    os.replace(part, out / weights)
    return out


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tied weights become copies: safetensors holds no two names for one piece of memory."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise TransferError(
            f"{path.name} cannot be read as plain tensors ({str(error).splitlines()[0]}).",
            "Choose a base with model.safetensors, or convert this one where you trust it.",
            code="base_not_found",
        ) from error
    return {name: tensor.clone().contiguous() for name, tensor in state.items()}
