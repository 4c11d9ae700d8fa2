"""The step that is served writes what the exporter's would, from one row for each source."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from export import to_onnx as exporting
from export.decoder_step import simplify_step
from services.generate import generate
from services.generation.model import DECODER_NAME, ENCODER_NAME
from tests.services.writers import TinyWriter, load_graphs

FAMILIES = ("bart", "t5", "pegasus")
CACHED = "then_branch"


@pytest.fixture(scope="module")
def as_exported(
    writers: dict[str, TinyWriter], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The graphs of the same models as Optimum writes them."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "simplify_step", lambda graph: False)
        for family in FAMILIES:
            writer, folder = writers[family], tmp_path_factory.mktemp("exported") / family
            tokenizer = writer.graphs / "tokenizer.json"
            folders[family] = exporting.to_onnx(writer.torch_model, "seq2seq", tokenizer, folder)
    return folders


def nodes_of(graph: Path) -> list[Any]:
    (choice,) = onnx.load(graph, load_external_data=False).graph.node
    (branch,) = (one.g for one in choice.attribute if one.name == CACHED)
    return list(branch.node)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_writes_the_same(
    family: str, writers: dict[str, TinyWriter], as_exported: dict[str, Path]
) -> None:
    writer, rng = writers[family], random.Random(4)
    copying = load_graphs(as_exported[family], writer.model._pad_id)
    assert writer.model.grouped
    assert not copying.grouped
    for _ in range(10):
        jobs = [writer.random_job(rng, 5) for _ in range(rng.choice([1, 1, 3]))]
        assert generate(writer.model, jobs) == generate(copying, jobs)


@pytest.mark.parametrize("family", FAMILIES)
def test_its_logits_are_those_of_a_copy_for_each_hypothesis(
    family: str, writers: dict[str, TinyWriter], as_exported: dict[str, Path]
) -> None:
    model, start = writers[family].model, writers[family].start
    found = []
    for one in (model, load_graphs(as_exported[family], model._pad_id)):
        memory = one.encode([[5, 6, 7], list(range(10, 40)), [9] * 8])
        one.step(np.array([start] * 3), memory)
        memory.select(np.array([0, 0, 1, 1, 2, 2]))
        one.step(np.array([7, 8, 9, 10, 11, 12]), memory)
        memory.select(np.array([2, 3, 5, 5]))
        found.append(one.step(np.array([20, 21, 22, 23]), memory))
    np.testing.assert_allclose(*found, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_known_shapes_are_not_computed(
    family: str, writers: dict[str, TinyWriter], as_exported: dict[str, Path]
) -> None:
    after, before = (
        nodes_of(folder / DECODER_NAME) for folder in (writers[family].graphs, as_exported[family])
    )
    assert len(after) < 0.8 * len(before)
    for kind in ("MatMul", "Softmax", "Add"):
        counts = [sum(node.op_type == kind for node in nodes) for nodes in (after, before)]
        assert counts[0] == counts[1]


def test_it_is_rewritten_once(writers: dict[str, TinyWriter], tmp_path: Path) -> None:
    graph = shutil.copy(writers["bart"].graphs / DECODER_NAME, tmp_path)
    before = Path(graph).read_bytes()
    assert not simplify_step(Path(graph))
    assert Path(graph).read_bytes() == before


def test_an_encoder_is_left_as_it_is(writers: dict[str, TinyWriter]) -> None:
    assert not simplify_step(writers["bart"].graphs / ENCODER_NAME)


def test_a_layout_that_is_not_known_is_left_as_it_is(
    as_exported: dict[str, Path], tmp_path: Path
) -> None:
    graph = Path(shutil.copy(as_exported["t5"] / DECODER_NAME, tmp_path))
    model = onnx.load(graph)
    (branch,) = (one.g for one in model.graph.node[0].attribute if one.name == CACHED)
    value = "past_key_values.1.encoder.value"
    for node in branch.node:
        node.input[:] = ["other" if name == value else name for name in node.input]
    branch.node.insert(0, helper.make_node("Relu", [value], ["other"]))
    onnx.save(model, graph)
    before = graph.read_bytes()
    assert not simplify_step(graph)
    assert graph.read_bytes() == before
