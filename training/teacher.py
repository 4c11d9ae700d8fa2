"""A teacher's outputs on every training window, computed once and kept on disk.

The file lies beside the student and is named by what it depends on (teacher and windows), so a
resumed or repeated distillation reads it instead of running the teacher again.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logit, logsumexp
from torch import Tensor, nn

from services.windows import Window
from training.features import Feature
from training.hidden_states import HIDDEN, LastHidden
from training.models import TorchRunner
from training.relations import PARTS, LastProjections

CERTAIN = 1e-6  # a mean probability stays that far from 0 and 1


class Taught(Protocol):
    """What a teacher says of each window."""

    def __getitem__(self, index: int) -> Mapping[str, NDArray[Any]]: ...


class Joined:
    """Several parts one after the other; lengths: windows of each."""

    def __init__(self, parts: Sequence[Taught], lengths: Sequence[int]) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(lengths)]

    def __getitem__(self, index: int) -> Mapping[str, NDArray[Any]]:
        part = bisect_right(self._starts, index) - 1
        return self._parts[part][index - self._starts[part]]


class Ensemble:
    """Several teachers as one, whose softened outputs are the mean of theirs (Hinton et al. 2015).

    Of one label, and of start and end of an answer, the mean of probabilities at `temperature`; of
    several labels that of each label's; of sentences the mean score. Logits at that temperature.
    """

    def __init__(
        self, members: Sequence[Taught], kind: str, multi_label: bool, temperature: float
    ) -> None:
        self._members = members
        self._mean = _mean_of(kind, multi_label)
        self._temperature = temperature

    def __getitem__(self, index: int) -> dict[str, NDArray[Any]]:
        said = [member[index] for member in self._members]
        return {
            name: self._mean(np.stack([one[name] for one in said]), self._temperature)
            for name in said[0]
        }


def _mean_of(kind: str, multi_label: bool) -> Any:
    if kind == "sentence-extraction":
        return lambda logits, temperature: logits.mean(axis=0)
    return _mean_of_each if multi_label else _mean_of_one


def _mean_of_one(logits: NDArray[Any], temperature: float) -> NDArray[Any]:
    """(teachers, choices) to the logits (choices,) of the mean distribution at `temperature`."""
    parts = log_softmax(logits / temperature, axis=-1)
    mean = logsumexp(parts, axis=0) - np.log(len(logits))
    return np.asarray(temperature * mean, np.float32)


def _mean_of_each(logits: NDArray[Any], temperature: float) -> NDArray[Any]:
    mean = expit(logits / temperature).mean(axis=0).clip(CERTAIN, 1 - CERTAIN)
    return np.asarray(temperature * logit(mean), np.float32)


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
    relations: bool = False,
) -> TeacherOutputs:
    """Run the teacher over all windows unless `folder` already holds its outputs.

    identity: digest of the teacher's weights; a folder made by another teacher is not read.
    hidden, relations: the last hidden states, and the last layer's queries, keys and values, too
    """
    cache = folder / _key(identity, features, hidden, bf16, relations)
    if not (cache / "done").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        windows = [feature.window for feature in features]
        outputs = TorchRunner(teacher, kind, pad_id, bf16=bf16)(windows)
        if hidden:
            _add(outputs, LastHidden(teacher), (HIDDEN,), teacher, windows, pad_id, bf16)
        if relations:
            _add(outputs, LastProjections(teacher), PARTS, teacher, windows, pad_id, bf16)
        for name in outputs[0]:
            _write(cache, name, [output[name] for output in outputs])
        (cache / "done").touch()
    return TeacherOutputs(cache)


def _write(cache: Path, name: str, arrays: Sequence[NDArray[Any]]) -> None:
    ends = np.cumsum([0, *(len(array) for array in arrays)])
    np.save(cache / f"{name}-ends.npy", ends)
    np.save(cache / f"{name}.npy", np.concatenate(arrays).astype(np.float16))


class _Watched(nn.Module):
    """A model whose outputs are what was kept of its forward pass."""

    def __init__(self, model: Any, kept: LastHidden | LastProjections) -> None:
        super().__init__()
        self.model = model
        self.kept = kept
        self.train(model.training)

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        self.model(**inputs)
        return SimpleNamespace(**self.kept.parts)


def _add(
    outputs: Sequence[dict[str, NDArray[Any]]],
    kept: LastHidden | LastProjections,
    parts: tuple[str, ...],
    teacher: nn.Module,
    windows: Sequence[Window],
    pad_id: int,
    bf16: bool,
) -> None:
    """Put the parts of each window, (tokens, width) each, beside what the teacher says of it.

    In half precision: they are the larger part by far.
    """
    runner = TorchRunner(teacher, "zero-shot", pad_id, bf16=bf16)
    runner.model, runner.outputs = _Watched(teacher, kept), parts
    for output, found in zip(outputs, runner(windows), strict=True):
        output.update({part: array.astype(np.float16) for part, array in found.items()})
    kept.close()


def _key(
    identity: str, features: Sequence[Feature], hidden: bool, bf16: bool, relations: bool
) -> str:
    asked = f"{identity}/{hidden}/{bf16}" + "/relations" * relations
    hasher = hashlib.sha256(asked.encode())
    for feature in features:
        hasher.update(np.asarray(feature.window.input_ids, np.int32).tobytes())
    return hasher.hexdigest()[:16]
