"""How many texts a second the same ONNX file labels in process: what no server can exceed.

In: a published classifier, texts, and a split of the cores: threads that take work, threads of each
call of the graph, windows of one call. Out: texts a second, with tokenizing, the graph and the
softmax in it. Texts longer than the variant's window are read in the same windows as the service
reads them, and texts of one call are about equally long. `load_tests.peers.classify` searches the
best split, once for each variant and length. Batches are taken in random order, so that a short
measurement sees short and long ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from load_tests.peers.splits import Split
from load_tests.peers.threads import rate
from load_tests.worker import answer_lines
from services.manifest import read_manifest
from services.runtime import SLOW_ON_CPU
from services.windows import spans


class Classifier:
    """A graph with its tokenizer, without any of the service's code around it."""

    def __init__(self, folder: Path, intra_op: int) -> None:
        manifest = read_manifest(folder)
        self.labels = manifest.labels
        self.inputs = manifest.inputs
        self.stride = int(manifest.decoding.get("stride", 0))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        probe = self.tokenizer.encode("")
        self.before, self.after = probe.ids[:1], probe.ids[1:]
        self.room = manifest.max_tokens - len(probe.ids)
        options = ort.SessionOptions()
        options.intra_op_num_threads = intra_op
        self.session = ort.InferenceSession(
            str(folder / "model.onnx"),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOW_ON_CPU,  # as the service does, else this would be no ceiling
        )

    def labels_of(self, texts: Sequence[str], batch: int) -> list[str]:
        """The label of every text; a text of several windows is labelled by their weighted mean."""
        windows, owners = self._windows(texts)
        logits = np.zeros((len(texts), len(self.labels)), np.float32)
        weights = np.zeros((len(texts), 1), np.float32)
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            for i, row in zip(chosen, self._run([windows[i] for i in chosen]), strict=True):
                weight = len(windows[i]) - 2
                logits[owners[i]] += row * weight
                weights[owners[i]] += weight
        logits /= weights
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = exponents / exponents.sum(axis=1, keepdims=True)
        return [self.labels[i] for i in scores.argmax(axis=1)]

    def _windows(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        windows, owners = [], []
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        for owner, encoding in enumerate(encodings):
            ids = encoding.ids
            for start, end in spans(len(ids), self.room, self.stride):
                windows.append([*self.before, *ids[start:end], *self.after])
                owners.append(owner)
        return windows, owners

    def _run(self, windows: Sequence[Sequence[int]]) -> np.ndarray:
        width = max(map(len, windows))
        ids = np.zeros((len(windows), width), np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (logits,) = self.session.run(["logits"], {name: feeds[name] for name in self.inputs})
        return np.asarray(logits)


def batches_of(texts: Sequence[str], size: int) -> list[list[str]]:
    """All texts in batches of about equally long ones, the batches in random order."""
    ordered = sorted(texts, key=len) if size > 1 else list(texts)
    batches = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    random.Random(0).shuffle(batches)
    return batches


class _Measurer:
    """What the worker process does: one classifier for each number of threads in a call."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[Path, int], Classifier] = {}

    def __call__(self, request: dict[str, Any]) -> Any:
        folder, texts = Path(request["folder"]), request["texts"]
        if "split" not in request:
            classifier = self._classifier(folder, 1)
            return [classifier.labels_of([text], 1)[0] for text in texts]
        split = Split(**request["split"])
        classifier = self._classifier(folder, split.intra_op)
        return rate(
            lambda taken: len(classifier.labels_of(taken, split.batch)),
            batches_of(texts, split.batch),
            split.threads,
            request["seconds"],
        )

    def _classifier(self, folder: Path, intra_op: int) -> Classifier:
        key = (folder, intra_op)
        if key not in self._loaded:
            self._loaded[key] = Classifier(folder, intra_op)
        return self._loaded[key]


if __name__ == "__main__":
    answer_lines(_Measurer())
