import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.embeddings import put_embeddings_beside

ROWS, WIDTH = 1000, 300
RNG = np.random.default_rng(3)


@pytest.fixture
def graph(tmp_path):
    """Looks rows up in one table and multiplies them with another."""
    table = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)
    weight = RNG.normal(size=(WIDTH, ROWS)).astype(np.float32)
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Gather", ["table", "ids"], ["found"]),
                helper.make_node("MatMul", ["found", "weight"], ["out"]),
            ],
            "g",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", ROWS])],
            [numpy_helper.from_array(table, "table"), numpy_helper.from_array(weight, "weight")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def outputs(graph):
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return session.run(None, {"ids": np.array([0, 7, 999])})[0]


def external(graph):
    model = onnx.load(graph, load_external_data=False)
    return [one.name for one in model.graph.initializer if one.data_location]


def test_only_the_table_that_is_looked_up_in_moves_and_the_answers_stay(graph):
    before, size = outputs(graph), graph.stat().st_size
    put_embeddings_beside(graph)
    assert external(graph) == ["table"]
    beside = graph.with_name("model.onnx_data").stat()
    assert beside.st_size == ROWS * WIDTH * 4
    assert beside.st_mode == graph.stat().st_mode
    assert graph.stat().st_size < size - ROWS * WIDTH * 4 + 1000
    np.testing.assert_array_equal(outputs(graph), before)


def test_a_graph_is_changed_once(graph):
    put_embeddings_beside(graph)
    beside = graph.with_name("model.onnx_data")
    first = graph.read_bytes(), beside.read_bytes()
    put_embeddings_beside(graph)
    assert (graph.read_bytes(), beside.read_bytes()) == first


def test_small_tables_stay_in_the_graph(graph):
    put_embeddings_beside(graph, least_bytes=ROWS * WIDTH * 4 + 1)
    assert external(graph) == []
    assert not graph.with_name("model.onnx_data").exists()
