"""A teacher's outputs on every training window, computed once and kept on disk.

The file lies beside the student and is named by what it depends on (teacher and windows), so a
resumed or repeated distillation reads it instead of running the teacher again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from services.windows import Window
from training.features import Feature
from training.models import TorchRunner, unwrapped

HIDDEN = "hidden"


class TeacherOutputs:
    """Sequence of one dict of arrays per window, read from memory-mapped float16 files."""

    def __init__(self, folder: Path) -> None:
        self._arrays = {
            path.stem: np.load(path, mmap_mode="r")
            for path in sorted(folder.glob("*.npy"))
            if not path.stem.endswith("-ends")
        }
        self._ends = {name: np.load(folder / f"{name}-ends.npy") for name in self._arrays}

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        found = {}
        for name, array in self._arrays.items():
            ends = self._ends[name]
            piece = array[ends[index] : ends[index + 1]]
            found[name] = np.array(piece, np.float32)
        return found


def teacher_outputs(
    teacher: nn.Module,
    kind: str,
    identity: str,
    features: Sequence[Feature],
    pad_id: int,
    folder: Path,
    hidden: bool = False,
    bf16: bool = False,
) -> TeacherOutputs:
    """Run the teacher over all windows unless `folder` already holds its outputs.

    identity: digest of the teacher's weights; a folder made by another teacher is not read.
    """
    cache = folder / _key(identity, features, hidden, bf16)
    if not (cache / "done").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        windows = [feature.window for feature in features]
        outputs = TorchRunner(teacher, kind, pad_id, bf16=bf16)(windows)
        if hidden:
            for output, states in zip(
                outputs, _hidden(teacher, windows, pad_id, bf16), strict=True
            ):
                output[HIDDEN] = states
        for name in outputs[0]:
            _write(cache, name, [output[name] for output in outputs])
        (cache / "done").touch()
    return TeacherOutputs(cache)


def _write(cache: Path, name: str, arrays: Sequence[NDArray[Any]]) -> None:
    ends = np.cumsum([0, *(len(array) for array in arrays)])
    np.save(cache / f"{name}-ends.npy", ends)
    np.save(cache / f"{name}.npy", np.concatenate(arrays).astype(np.float16))


def _hidden(
    teacher: nn.Module, windows: Sequence[Window], pad_id: int, bf16: bool
) -> list[NDArray[Any]]:
    """(tokens, width) last hidden state of each window."""
    runner = TorchRunner(teacher, "zero-shot", pad_id, bf16=bf16)
    runner.model = unwrapped(teacher).base_model
    return [output["last_hidden_state"].astype(np.float16) for output in runner(windows)]


def _key(identity: str, features: Sequence[Feature], hidden: bool, bf16: bool) -> str:
    hasher = hashlib.sha256(f"{identity}/{hidden}/{bf16}".encode())
    for feature in features:
        hasher.update(np.asarray(feature.window.input_ids, np.int32).tobytes())
    return hasher.hexdigest()[:16]
