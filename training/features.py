"""Typed rows into training windows with their targets, and those into padded batches.

Windows come from the same `encode` that serves. Targets by kind: a class number or a 0/1 vector,
token positions of the answer, or the sentence of every token with one label for each sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.tasks.classify import Classify
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from services.tasks.summarize import Summarize
from services.windows import Tokens, Window, pad
from training.rows import Document, LabelledText, Question

UNKNOWN = -1.0  # label of a padded sentence
OUTSIDE = -1  # class of a text that has none of the labels
UNLABELLED = -2  # class, or mark of each class, of a text that only a teacher has judged


@dataclass(frozen=True, slots=True)
class Feature:
    """One training window: `targets` are unpadded arrays by the names that `collate` stacks."""

    window: Window
    targets: dict[str, NDArray[Any]]


def features(task: Task, rows: Sequence[Any]) -> list[Feature]:
    """All windows of all rows."""
    make = _MAKERS[type(task)]
    return [feature for row in rows for feature in make(task, row)]


def unlabelled_features(task: Classify, texts: Sequence[str]) -> list[Feature]:
    """All windows of texts whose classes are not known."""
    several = task.settings.multi_label
    target: NDArray[Any] = (
        np.full(len(task.settings.labels), UNLABELLED, np.float32)
        if several
        else np.array(UNLABELLED, np.int64)
    )
    return [
        Feature(window, {"targets": target})
        for text in texts
        for window in task.encode(text).windows
    ]


def _classify(task: Classify, row: LabelledText) -> list[Feature]:
    labels = task.settings.labels
    target: NDArray[Any]
    if task.settings.multi_label:
        target = np.array([label in row.labels for label in labels], np.float32)
    else:
        known = row.labels[0] in labels
        target = np.array(labels.index(row.labels[0]) if known else OUTSIDE, np.int64)
    return [Feature(window, {"targets": target}) for window in task.encode(row.text).windows]


def _answer(task: AnswerQuestions, row: Question) -> list[Feature]:
    """Windows without the whole answer point at the first token: no answer here."""
    encoded = task.encode(row.question, [row.context])
    found = _answer_tokens(encoded.tokens[0], row.answers)
    made = []
    for window in encoded.windows:
        start, end = _in_window(window, found)
        targets = {"starts": np.array(start, np.int64), "ends": np.array(end, np.int64)}
        made.append(Feature(window, targets))
    return made


def _answer_tokens(tokens: Tokens, answers: Sequence[tuple[str, int]]) -> tuple[int, int] | None:
    """First and last context token of the first answer; None without one."""
    if not answers:
        return None
    text, start = answers[0]
    end = start + len(text)
    inside = [i for i, (left, right) in enumerate(tokens.offsets) if left < end and right > start]
    return (inside[0], inside[-1]) if inside else None


def _in_window(window: Window, found: tuple[int, int] | None) -> tuple[int, int]:
    """Window positions (inclusive) of context tokens, (0, 0) if they are not all there."""
    first, last = window.content
    if found is None or found[0] < window.first or found[1] >= window.first + last - first:
        return 0, 0
    return first + found[0] - window.first, first + found[1] - window.first


def _sentences(task: Summarize, row: Document) -> list[Feature]:
    encoded = task.encode(row.text, row.bounds)
    keys = {row.bounds[i] for i in row.key}
    labels = np.array([bounds in keys for bounds in encoded.sentences], np.float32)
    made = []
    for window in encoded.windows:
        first, last = window.content
        owners = encoded.owner[window.first : window.first + last - first]
        present, local = np.unique(owners, return_inverse=True)
        token_sentence = np.full(len(window), -1, np.int64)
        token_sentence[first:last] = local
        targets = {"token_sentence": token_sentence, "sentence_labels": labels[present]}
        made.append(Feature(window, targets))
    return made


_MAKERS: dict[type, Any] = {Classify: _classify, AnswerQuestions: _answer, Summarize: _sentences}
_PADDING = {"token_sentence": -1, "sentence_labels": UNKNOWN}


def collate(
    batch: Sequence[Feature],
    pad_id: int,
    inputs: Sequence[str],
    teacher_outputs: Sequence[Mapping[str, NDArray[Any]]] | None = None,
) -> dict[str, Tensor]:
    """Padded tensors: the model's inputs, the targets, and the teacher's outputs as `teacher_*`."""
    tensors = to_tensors([feature.window for feature in batch], pad_id, inputs)
    for name in batch[0].targets:
        arrays = [feature.targets[name] for feature in batch]
        tensors[name] = stack(arrays, _PADDING.get(name, 0))
    for name in teacher_outputs[0] if teacher_outputs else ():
        tensors[f"teacher_{name}"] = stack([out[name] for out in teacher_outputs or ()], 0).float()
    return tensors


def to_tensors(windows: Sequence[Window], pad_id: int, inputs: Sequence[str]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in pad(windows, pad_id, inputs).items()}


def stack(arrays: Sequence[NDArray[Any]], padding: float) -> Tensor:
    """Stack arrays whose first axis may differ in length."""
    if arrays[0].ndim == 0 or len({len(array) for array in arrays}) == 1:
        return torch.from_numpy(np.stack(arrays))
    longest = max(len(array) for array in arrays)
    shape = (len(arrays), longest, *arrays[0].shape[1:])
    stacked = np.full(shape, padding, arrays[0].dtype)
    for row, array in enumerate(arrays):
        stacked[row, : len(array)] = array
    return torch.from_numpy(stacked)
