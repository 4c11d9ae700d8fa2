"""Whether the weights of an ONNX graph are numbers, and lie in files that are checked.

In: a graph's file. Out: nothing, or an ArtifactError that names the file and the weights. A NaN in
the vector of one word shows only in texts with that word, so trying a graph is not enough. Read by
hand: the service has no `onnx` package, and needs four fields of its format (onnx.proto,
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from services.errors import ArtifactError
from services.manifest import AGAIN

GRAPH, NODE, INITIALIZER, ATTRIBUTE = 7, 1, 5, 5  # of Model, Graph, Graph, Node
TENSOR_OF, GRAPH_OF, GRAPHS_OF = 5, 6, 11  # of Attribute
DATA_TYPE, FLOATS, NAME, RAW, DOUBLES, EXTERNAL = 2, 4, 8, 9, 10, 13  # of Tensor
KEY, VALUE = 1, 2  # of what tells where a tensor lies
FLOAT, FLOAT16, DOUBLE, BFLOAT16 = 1, 10, 11, 16
CHUNK = 4_000_000  # bytes looked at in one go

# The greatest bits of a number, without its sign; what is above is NaN.
_INFINITY = {FLOAT16: 0x7C00, BFLOAT16: 0x7F80}


def check_weights(path: Path, listed: Collection[str]) -> None:
    """Raise ArtifactError for a weight that is NaN, or that lies in a file that is not listed.

    listed: paths, beside the graph, of the files whose hashes are known
    """
    try:
        with path.open("rb") as file:  # the map ends with its last view
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        for tensor in _tensors(whole):
            _check(tensor, path, listed)
    except (ValueError, IndexError) as error:
        raise ArtifactError(f"{path} cannot be read as a graph: {error}.", AGAIN) from error


def _check(tensor: memoryview, path: Path, listed: Collection[str]) -> None:
    kind, name, values = 0, "", []
    place: dict[str, str] = {}
    for number, value in _fields(tensor):
        if number == DATA_TYPE:
            kind = value
        elif number == NAME:
            name = bytes(value).decode()
        elif number in (RAW, FLOATS, DOUBLES) and isinstance(value, memoryview):
            values.append(value)
        elif number == EXTERNAL:
            entry = dict(_fields(value))
            key, text = (bytes(entry.get(one, b"")).decode() for one in (KEY, VALUE))
            place[key] = text
    if place:
        values.append(_beside(place, path, listed))
    if any(_has_nan(value, kind) for value in values):
        raise ArtifactError(f"{path} has weights that are NaN in {name[:100]}.", AGAIN)


def _beside(place: dict[str, str], path: Path, listed: Collection[str]) -> memoryview:
    """The bytes of a tensor that lies in another file."""
    location = place.get("location", "")
    if location not in listed:
        raise ArtifactError(
            f"{path} keeps weights in {location[:200]!r}, which its manifest does not list.", AGAIN
        )
    with (path.parent / location).open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    start = int(place.get("offset", 0))
    end = start + int(place.get("length", len(whole) - start))
    if not 0 <= start <= end <= len(whole):
        raise ValueError(f"weights from {start} to {end} of {len(whole)} bytes in {location}")
    return whole[start:end]


def _has_nan(data: memoryview, kind: int) -> bool:
    for start in range(0, len(data), CHUNK):
        part = data[start : start + CHUNK]
        if kind in (FLOAT, DOUBLE):
            found = np.isnan(np.frombuffer(part, "<f4" if kind == FLOAT else "<f8")).any()
        elif kind in _INFINITY:
            found = ((np.frombuffer(part, "<u2") & 0x7FFF) > _INFINITY[kind]).any()
        else:
            return False
        if found:
            return True
    return False


def _tensors(model: memoryview) -> Iterator[memoryview]:
    for number, value in _fields(model):
        if number == GRAPH:
            yield from _of_graph(value)


def _of_graph(graph: memoryview) -> Iterator[memoryview]:
    """The weights of a graph and of the branches in it, constants too."""
    for number, value in _fields(graph):
        if number == INITIALIZER:
            yield value
        elif number == NODE:
            for inner, attribute in _fields(value):
                if inner == ATTRIBUTE:
                    yield from _of_attribute(attribute)


def _of_attribute(attribute: memoryview) -> Iterator[memoryview]:
    for number, value in _fields(attribute):
        if number == TENSOR_OF:
            yield value
        elif number in (GRAPH_OF, GRAPHS_OF):
            yield from _of_graph(value)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protobuf message: whole numbers, or the bytes of the rest."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > end:
            raise ValueError("it ends too early")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
