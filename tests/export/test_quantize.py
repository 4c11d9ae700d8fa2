"""Smaller graphs: int8 for CPUs, half precision for GPUs."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnxruntime
import pytest

from export.quantize import to_fp16, to_int8
from export.to_onnx import to_onnx
from services.generation.model import DECODER_NAME
from services.registry import SEQ2SEQ_GRAPHS
from tests.services.writers import load_graphs
from training.models import load_model

FEEDS = {
    "input_ids": np.array([[2, 45, 350, 61, 3]], np.int64),
    "attention_mask": np.ones((1, 5), np.int64),
    "token_type_ids": np.zeros((1, 5), np.int64),
}


@pytest.fixture(scope="module")
def graph(bases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    base = bases["bert"]
    to_onnx(load_model("zero-shot", base), "zero-shot", base / "tokenizer.json", folder)
    return folder / "model.onnx"


def outputs_of(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, FEEDS)[0]


def types_of(path):
    return {tensor.data_type for tensor in onnx.load(path).graph.initializer if tensor.dims}


def test_int8_weights_have_a_scale_for_each_channel(graph, tmp_path):
    small = to_int8(graph, tmp_path / "int8.onnx")
    model = onnx.load(small)
    scales = [t for t in model.graph.initializer if t.name.endswith("_scale") and t.dims]
    assert {tuple(scale.dims) for scale in scales} >= {(32,), (64,)}
    assert onnx.TensorProto.INT8 in types_of(small)
    assert not any(node.domain == "com.microsoft.fused" for node in model.graph.node)


def test_int8_outputs_are_near(graph, tmp_path):
    before, after = outputs_of(graph), outputs_of(to_int8(graph, tmp_path / "int8.onnx"))
    assert before.shape == after.shape
    assert np.abs(before - after).max() < 0.2
    assert not np.array_equal(before, after)


def test_quantizing_leaves_its_input_and_the_logging_alone(graph, tmp_path):
    before, level = graph.read_bytes(), logging.getLogger().level
    to_int8(graph, tmp_path / "int8.onnx")
    assert graph.read_bytes() == before
    assert logging.getLogger().level == level
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"]


def test_fp16_halves_the_file_and_keeps_the_types_outside(graph, tmp_path):
    half = to_fp16(graph, tmp_path / "fp16.onnx")
    assert half.stat().st_size < 0.7 * graph.stat().st_size
    model = onnx.load(half)
    assert {value.type.tensor_type.elem_type for value in model.graph.output} == {
        onnx.TensorProto.FLOAT
    }
    assert onnx.TensorProto.FLOAT16 in types_of(half)
    assert onnx.TensorProto.FLOAT not in types_of(half)
    assert np.abs(outputs_of(graph) - outputs_of(half)).max() < 0.02


@pytest.mark.parametrize("family", ["bart", "t5", "pegasus"])
def test_fp16_reaches_into_both_branches_of_a_decoder(family, bases, tmp_path):
    base = bases[family]
    graphs = to_onnx(load_model("seq2seq", base), "seq2seq", base / "tokenizer.json", tmp_path)
    (tmp_path / "half").mkdir()
    for name in SEQ2SEQ_GRAPHS:
        to_fp16(graphs / name, tmp_path / "half" / name)
    half = onnx.load(tmp_path / "half" / DECODER_NAME)
    branches = [one.g for node in half.graph.node for one in node.attribute if one.HasField("g")]
    assert len(branches) == 2
    for graph in (half.graph, *branches):
        assert {one.data_type for one in graph.initializer if one.dims} <= {
            onnx.TensorProto.FLOAT16,
            onnx.TensorProto.INT64,
        }
    sizes = [(folder / DECODER_NAME).stat().st_size for folder in (graphs, tmp_path / "half")]
    assert sizes[1] < 0.75 * sizes[0]
    for one, other in zip(steps(graphs), steps(tmp_path / "half"), strict=True):
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=0.02 * np.abs(one).max())
        assert not np.array_equal(one, other)


def steps(folder):
    """The logits of the first three steps, one with an empty cache and two that read it."""
    model = load_graphs(folder, pad_id=1)
    memory = model.encode([[5, 6, 7, 8], [9, 10]])
    return [model.step(np.array(tokens), memory) for tokens in ([2, 2], [12, 13], [14, 15])]
