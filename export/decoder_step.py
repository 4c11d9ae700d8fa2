"""The step of a merged decoder, made for one token and many hypotheses of a source.

    simplify_step(folder / "decoder_model_merged.onnx")

An exporter writes down what a model does for any number of tokens, and asks for a source's keys
and values once for each hypothesis. The branch with a cache is rewritten:

- **One source for all hypotheses about it.** Cross-attention takes (sources, heads, hypotheses,
  head size) queries where it took (hypotheses, heads, 1, head size), so that keys, values and mask
  have a row for each source. With 4 beams a step reads a quarter of the memory, and in products
  of matrices instead of vectors. The first dimension of these inputs says so: it is SOURCES.
- **Shapes that are known.** Numbers of heads and their size are constants; what is left of a
  shape, ONNX's 0 ("as in the input") and -1 say. A third of the nodes computed such shapes.

What is computed stays the same. A graph of another layout (LED's) is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from services.generation.model import SOURCES

MASK, HIDDEN = "encoder_attention_mask", "encoder_hidden_states"
PASSES = ("Mul", "Div", "Cast", "Identity", "Transpose")  # between a projection and its product
PER_HEAD = 4  # dimensions of (rows, tokens, heads, head size)


def simplify_step(graph: Path) -> bool:
    """Rewrite a merged decoder in place; returns whether its layout was known."""
    model = onnx.load(graph, load_external_data=False)
    step = _Step(model)
    if not step.group_by_source():
        return False
    step.fix_shapes()
    step.drop_unused()
    onnx.save(model, graph)
    return True


class _Step:
    """The branch with a cache, its nodes by what they give."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.branch = _branch_with_cache(model.graph)
        self.giver = {name: node for node in self.branch.node for name in node.output}
        self.constants = {one.name: one for one in model.graph.initializer}
        self._added: list[NodeProto] = []

    def group_by_source(self) -> bool:
        """Let every cross-attention have one row of keys and values for each source."""
        keys = [one for one in self.model.graph.input if one.name.endswith(".encoder.key")]
        known = [found for key in keys if (found := self._cross_attention(key.name))]
        nested = any(True for node in self.branch.node for _ in _branches(node))
        if not keys or len(known) < len(keys) or nested:
            return False
        self._add(helper.make_node("Shape", [keys[0].name], [SOURCES], end=1))
        for key, (query, context) in zip(keys, known, strict=True):
            heads, size = (key.type.tensor_type.shape.dim[at].dim_value for at in (1, 3))
            query.input[1] = self._queries_shape(heads, size)
            context.input[1] = self._constant([-1, 1, heads * size])
        for value in self.model.graph.input:
            if value.name in (MASK, HIDDEN) or ".encoder." in value.name:
                value.type.tensor_type.shape.dim[0].dim_param = SOURCES
        return True

    def _cross_attention(self, key: str) -> tuple[NodeProto, NodeProto] | None:
        """The Reshapes of the queries and of what was read; None where the layout is another."""
        scores = self._product_with(key)
        read = self._product_with(key.removesuffix("key") + "value")
        if scores is None or read is None:
            return None
        query = self._before(scores.input[0])
        transpose = self._only_reader(read, "Transpose")
        context = self._only_reader(transpose, "Reshape") if transpose else None
        if query is None or context is None or len(self._shape_parts(query)) != PER_HEAD:
            return None
        return query, context

    def _only_reader(self, node: NodeProto, kind: str) -> NodeProto | None:
        readers = [one for one in self.branch.node if node.output[0] in one.input]
        return readers[0] if [one.op_type for one in readers] == [kind] else None

    def _product_with(self, name: str) -> NodeProto | None:
        """The MatMul whose second factor an input becomes."""
        names = {name}
        for node in self.branch.node:  # in the order of computing
            if node.op_type == "MatMul" and node.input[1] in names:
                return node
            if node.op_type in PASSES and names & set(node.input):
                names |= set(node.output)
        return None

    def _before(self, name: str) -> NodeProto | None:
        """The Reshape that a factor comes from."""
        node = self.giver.get(name)
        while node is not None and node.op_type in PASSES:
            node = self.giver.get(node.input[0])
        return node if node is not None and node.op_type == "Reshape" else None

    def fix_shapes(self) -> None:
        """Keep the first two dimensions, rows and tokens, without computing how many they are."""
        for node in self.branch.node:
            parts = self._shape_parts(node) if node.op_type == "Reshape" else []
            if len(parts) > 2 and parts[0] is None and parts[1] in (None, -1):
                node.input[1] = self._constant([0, parts[1] or 0, *parts[2:]])

    def _shape_parts(self, reshape: NodeProto) -> list[int | None]:
        """A shape as its parts: None for a number of rows at 0 and of tokens at 1, else constants.

        [] for a shape that has other parts, or is no Concat of parts.
        """
        concat = self.giver.get(reshape.input[1])
        if concat is None or concat.op_type != "Concat":
            return []
        parts = [self._integer(name) for name in concat.input]
        for at, (name, part) in enumerate(zip(concat.input, parts, strict=True)):
            if part is None and (at > 1 or self._axis_of(name) != at):
                return []
        return parts

    def _axis_of(self, name: str) -> int | None:
        """Which axis of something a number of elements is, as Unsqueeze(Gather(Shape(x), axis))."""
        for expected in ("Unsqueeze", "Gather"):
            node = self.giver.get(name)
            if node is None or node.op_type != expected:
                return None
            name = node.input[0]
        shape = self.giver.get(name)
        return self._integer(node.input[1]) if shape and shape.op_type == "Shape" else None

    def _integer(self, name: str) -> int | None:
        node = self.giver.get(name)
        if node is not None and node.op_type == "Constant":
            value = numpy_helper.to_array(node.attribute[0].t)
        elif name in self.constants:
            value = numpy_helper.to_array(self.constants[name])
        else:
            return None
        return int(value.ravel()[0]) if value.size == 1 else None

    def _queries_shape(self, heads: int, size: int) -> str:
        """(sources, hypotheses of each, heads, head size)"""
        name = f"{SOURCES}_{heads}_{size}"
        if name not in self.giver:
            rest = self._constant([-1, heads, size])
            self._add(helper.make_node("Concat", [SOURCES, rest], [name], axis=0))
        return name

    def _constant(self, shape: Sequence[int | None]) -> str:
        name = "shape_" + "_".join(str(part) for part in shape)
        if name not in self.constants:
            tensor = numpy_helper.from_array(np.array(shape, np.int64), name)
            self.model.graph.initializer.append(tensor)
            self.constants[name] = tensor
        return name

    def _add(self, node: NodeProto) -> None:
        self._added.append(node)
        self.giver[node.output[0]] = node

    def drop_unused(self) -> None:
        """Put new nodes first and leave out what nothing reads any more."""
        needed = {value.name for value in self.branch.output}
        kept: list[NodeProto] = []
        for node in reversed([*self._added, *self.branch.node]):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(node.input)
        del self.branch.node[:]
        self.branch.node.extend(reversed(kept))


def _branch_with_cache(graph: GraphProto) -> GraphProto:
    for node in graph.node:
        for attribute in _branches(node):
            if attribute.name == "then_branch":
                return attribute.g
    return graph  # without branches: there is no cross-attention to be found either


def _branches(node: NodeProto) -> Iterator[onnx.AttributeProto]:
    yield from (one for one in node.attribute if one.HasField("g"))
