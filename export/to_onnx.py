"""Checkpoint in, fp32 ONNX graph(s) and tokenizer out, by Optimum.

transfer export checkpoints/intent
"""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import onnx
from optimum.exporters.onnx import onnx_export_from_model

from services.errors import TransferError
from services.registry import GRAPH_NAME, TOKENIZER_NAME

OPSET = 17
OPTIMUM_TASKS = {
    "sequence-classification": "text-classification",
    "question-answering": "question-answering",
    "sentence-extraction": "token-classification",
    "zero-shot": "feature-extraction",
    "seq2seq": "text2text-generation-with-past",
}


def to_onnx(model: Any, kind: str, tokenizer_file: Path, out: Path) -> Path:
    """Write `model.onnx` (seq2seq: encoder and merged decoder) and `tokenizer.json` to `out`.

    model: the transformers model; it is put into eval mode
    """
    out.mkdir(parents=True, exist_ok=True)
    logging.getLogger("optimum").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracer warnings about shapes; `verify` compares outputs
        onnx_export_from_model(
            model.eval(),
            out,
            opset=OPSET,
            task=OPTIMUM_TASKS[kind],
            do_validation=False,  # `export.verify` is stricter and uses real texts
        )
    if kind != "seq2seq" and not (out / GRAPH_NAME).is_file():
        raise TransferError(f"Optimum wrote no {GRAPH_NAME} to {out}.")
    shutil.copy(tokenizer_file, out / TOKENIZER_NAME)
    return out


def graph_names(graph: Path) -> tuple[list[str], list[str]]:
    """Names of a graph's inputs and outputs."""
    model = onnx.load(graph, load_external_data=False)
    return [node.name for node in model.graph.input], [node.name for node in model.graph.output]
