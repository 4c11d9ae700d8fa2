"""A graph in, a smaller one out: dynamic int8 for CPUs, fp16 for GPUs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from export.embeddings import put_embeddings_beside


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
    put_embeddings_beside(out)
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
    """Half precision inside; inputs and outputs keep their types, so nothing is decoded in fp16.

    The converter knows one graph with one set of names. The two branches of a merged decoder repeat
    the names of its outputs and share its weights, so each is converted as a graph of its own.
    """
    model = onnx.load(graph)
    branches = [one.g for node in model.graph.node for one in node.attribute if one.HasField("g")]
    if branches:
        halves = [_half_branch(model, branch) for branch in branches]
        for branch, half in zip(branches, halves, strict=True):
            branch.CopyFrom(half)
        _share_weights(model, branches)
    else:
        model = convert_float_to_float16(model, keep_io_types=True)
    onnx.save(model, out)
    put_embeddings_beside(out)
    return out


def _half_branch(model: onnx.ModelProto, branch: onnx.GraphProto) -> onnx.GraphProto:
    """The branch in half precision, with copies of the weights that it took from around it."""
    own = {tensor.name for tensor in branch.initializer}
    used = {name for node in branch.node for name in node.input} - own
    inputs = [value for value in model.graph.input if value.name in used]
    weights = [tensor for tensor in model.graph.initializer if tensor.name in used]
    alone = onnx.helper.make_model(
        onnx.helper.make_graph(
            branch.node, branch.name, inputs, branch.output, [*branch.initializer, *weights]
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    half = OnnxModel(convert_float_to_float16(alone, keep_io_types=True))
    half.topological_sort()
    kept = [one for one in half.model.graph.initializer if one.name in own or _is_float(one)]
    return onnx.helper.make_graph(half.model.graph.node, branch.name, [], branch.output, kept)


def _share_weights(model: onnx.ModelProto, branches: Sequence[onnx.GraphProto]) -> None:
    """Weights that the branches had in common stand around them again, as far as they are equal."""
    found = [{one.name: one for one in branch.initializer} for branch in branches]
    common: dict[str, onnx.TensorProto] = {}
    for tensor in list(model.graph.initializer):
        if not _is_float(tensor):
            continue
        copies = [weights[tensor.name] for weights in found if tensor.name in weights]
        model.graph.initializer.remove(tensor)
        if copies and all(copy == copies[0] for copy in copies):
            common[tensor.name] = onnx.TensorProto.FromString(copies[0].SerializeToString())
    for branch in branches:
        kept = [one for one in branch.initializer if one.name not in common]
        del branch.initializer[:]
        branch.initializer.extend(kept)
    model.graph.initializer.extend(common.values())


def _is_float(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
