"""Texts to labels with tokenizers and ONNX Runtime, in the fewest lines: what both peers serve.

In: the folder of a published classifier. Out: labels with their scores. A text is read whole, up to
the 512 positions of BERT, in one sequence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from load_tests.peer_servers.names import FOLDER, INTRA_OP

MAX_TOKENS = 512


class Classifier:
    """intra_op: threads of one call of the graph"""

    def __init__(self, folder: Path, intra_op: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.enable_padding()  # to the longest of a batch; the file says: always to 128
        options = ort.SessionOptions()
        options.intra_op_num_threads = intra_op
        self.session = ort.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.labels = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["labels"]
        self.inputs = [node.name for node in self.session.get_inputs()]

    @classmethod
    def from_environment(cls) -> Classifier:
        return cls(Path(os.environ[FOLDER]), int(os.environ[INTRA_OP]))

    def classify(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        encodings = self.tokenizer.encode_batch(list(texts))
        arrays = {
            "input_ids": np.array([one.ids for one in encodings], np.int64),
            "attention_mask": np.array([one.attention_mask for one in encodings], np.int64),
            "token_type_ids": np.array([one.type_ids for one in encodings], np.int64),
        }
        (logits,) = self.session.run(["logits"], {name: arrays[name] for name in self.inputs})
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = exponents / exponents.sum(axis=1, keepdims=True)
        best = scores.argmax(axis=1)
        return [(self.labels[i], float(row[i])) for i, row in zip(best, scores, strict=True)]
