"""A graph in, a smaller one out: dynamic int8 for CPUs, fp16 for GPUs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16


def to_int8(graph: Path, out: Path) -> Path:
    """Dynamic int8: weights per output channel ahead of time, activations at run time.

    The graph must not be fused: quantizing a fused one fails on a missing type, or is slower. The
    two branches of a merged decoder are quantized as well, and go on sharing their weights.
    """
    with _quiet():  # it advises a pre-processing that changes nothing
        quantize_dynamic(
            graph,
            out,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "EnableSubgraph": True},
        )
    return out


@contextmanager
def _quiet() -> Iterator[None]:
    """Only errors from the root logger, which ONNX Runtime's tools write to."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def to_fp16(graph: Path, out: Path) -> Path:
    """Half precision inside; inputs and outputs keep their types."""
    model = convert_float_to_float16(onnx.load(graph), keep_io_types=True)
    onnx.save(model, out)
    return out
