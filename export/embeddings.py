"""The embedding table of a graph in a file of its own, which ONNX Runtime maps into memory.

    model.onnx  ->  model.onnx, model.onnx_data

Half of a small encoder is its embedding table. Inside the graph every session reads all of it into
memory of its own; beside the graph only the rows that texts ask for are ever read, and the kernel
may drop them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data, uses_external_data

DATA_SUFFIX = "_data"  # as exporters name it: model.onnx_data
LEAST_BYTES = 1_000_000


def data_name(graph: str) -> str:
    """The file beside the graph."""
    return graph + DATA_SUFFIX


def put_embeddings_beside(graph: Path, least_bytes: int = LEAST_BYTES) -> None:
    """Move tables that are looked up in, of `least_bytes` and more, out of the graph's file.

    A graph that has a file beside it already is left as it is.
    """
    model = onnx.load(graph, load_external_data=False)
    if any(uses_external_data(tensor) for tensor in model.graph.initializer):
        return
    tables = set(_looked_up(model.graph))
    moved = [
        tensor
        for tensor in model.graph.initializer
        if tensor.name in tables and len(tensor.raw_data) >= least_bytes
    ]
    if not moved:
        return
    beside = graph.with_name(data_name(graph.name))
    beside.unlink(missing_ok=True)  # onnx would append to it
    for tensor in moved:
        set_external_data(tensor, location=beside.name)
    onnx.save(model, graph)
    beside.chmod(graph.stat().st_mode)  # onnx lets nobody else read it


def _looked_up(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of what a Gather takes rows of, in the graph and its branches."""
    for node in graph.node:
        if node.op_type == "Gather":
            yield node.input[0]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _looked_up(attribute.g)
