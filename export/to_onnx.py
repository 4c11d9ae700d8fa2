"""Checkpoint in, fp32 ONNX graph(s) and tokenizer out, by Optimum.

transfer export checkpoints/intent
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
from optimum.exporters.onnx import onnx_export_from_model

from export.decoder_step import simplify_step
from export.embeddings import put_embeddings_beside
from services.errors import TransferError
from services.generation.model import DECODER_NAME
from services.registry import TOKENIZER_NAME, graphs_of
from services.windows import TextTokenizer

OPSET = 17
# optimum-onnx 0.1.0 with transformers 4.57: the logits of a tiny GPT-2 differed by 1.5.
DECODERS = ("gpt2",)
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
        with _unchanged(model), _refused(model):
            onnx_export_from_model(
                model.eval(),
                out,
                opset=OPSET,
                task=OPTIMUM_TASKS[kind],
                do_validation=False,  # `export.verify` is stricter and uses real texts
            )
    missing = [name for name in graphs_of(kind) if not (out / name).is_file()]
    if missing:
        raise TransferError(f"Optimum wrote no {', '.join(missing)} to {out}.")
    if kind == "seq2seq":
        simplify_step(out / DECODER_NAME)
    for name in graphs_of(kind):
        put_embeddings_beside(out / name)
    TextTokenizer.load(tokenizer_file).save(out / TOKENIZER_NAME)
    return out


@contextmanager
def _unchanged(model: Any) -> Iterator[None]:
    """Optimum sets `use_cache` of T5's encoder, which then cannot be called any more."""
    configs = {
        id(module.config): module.config for module in model.modules() if _has_config(module)
    }
    before = [(config, config.use_cache) for config in configs.values()]
    try:
        yield
    finally:
        for config, use_cache in before:
            config.use_cache = use_cache


@contextmanager
def _refused(model: Any) -> Iterator[None]:
    """Optimum's refusal of an architecture or a task as an error in words."""
    family = model.config.model_type
    if family in DECODERS and not model.can_generate():
        raise _cannot_export(family, "the graph of such a classifier answers otherwise than torch.")
    try:
        yield
    except (ValueError, KeyError, NotImplementedError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _cannot_export(family, reason) from error


def _cannot_export(family: str, reason: str) -> TransferError:
    return TransferError(
        f"Optimum cannot export {family} for this job: {reason}",
        "Use it in PyTorch (`transfer evaluate CHECKPOINT`), or train another base.",
    )


def _has_config(module: Any) -> bool:
    return hasattr(getattr(module, "config", None), "use_cache")


def graph_names(graph: Path) -> tuple[list[str], list[str]]:
    """Names of a graph's inputs and outputs."""
    model = onnx.load(graph, load_external_data=False)
    return [node.name for node in model.graph.input], [node.name for node in model.graph.output]
