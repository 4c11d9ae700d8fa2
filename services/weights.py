"""Whether the weights of an ONNX graph are numbers, and lie in files that are checked.

In: a graph's file. Out: nothing, or an ArtifactError that names the file and the weights. A NaN in
the vector of one word shows only in texts with that word, so trying a graph is not enough. Read by
hand: the service has no `onnx` package, and needs few fields of its format (onnx.proto,
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from services.errors import ArtifactError
from services.manifest import AGAIN

GRAPH, NODE, INITIALIZER, ATTRIBUTE = 7, 1, 5, 5  # of Model, Graph, Graph, Node
NAME_OF, FLOAT_OF, TENSOR_OF, GRAPH_OF, FLOATS_OF, GRAPHS_OF = 1, 2, 5, 6, 7, 11  # of Attribute
DATA_TYPE, FLOATS, WHOLES, NAME, RAW, DOUBLES, EXTERNAL = 2, 4, 5, 8, 9, 10, 13  # of Tensor
CONSTANTS = ("value_float", "value_floats")  # attributes that hold numbers without a tensor
KEY, VALUE = 1, 2  # of what tells where a tensor lies
FLOAT, FLOAT16, DOUBLE, BFLOAT16 = 1, 10, 11, 16
CHUNK = 4_000_000  # bytes looked at in one go

# The greatest bits of a number, without its sign; what is above is NaN.
_INFINITY = {FLOAT16: 0x7C00, BFLOAT16: 0x7F80}

Fields = Iterable[tuple[int, Any]]  # numbers and values, as `_fields` gives them


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


def _check(tensor: Fields, path: Path, listed: Collection[str]) -> None:
    kind, name = 0, ""
    values: list[memoryview] = []
    wholes: list[memoryview | int] = []
    place: dict[str, str] = {}
    for number, value in tensor:
        if number == DATA_TYPE:
            kind = value
        elif number == NAME:
            name = bytes(value).decode()
        elif number in (RAW, FLOATS, DOUBLES) and isinstance(value, memoryview):
            values.append(value)
        elif number == WHOLES:
            wholes.append(value)
        elif number == EXTERNAL:
            entry = dict(_fields(value))
            key, text = (bytes(entry.get(one, b"")).decode() for one in (KEY, VALUE))
            place[key] = text
    if kind in _INFINITY:
        values += [bits for whole in wholes for bits in _halves(whole)]
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


def _halves(whole: memoryview | int) -> Iterator[memoryview]:
    """The bits of halves that are written as whole numbers: one, or packed ones of 1 to 3 bytes."""
    if isinstance(whole, int):
        yield memoryview((whole & 0xFFFF).to_bytes(2, "little"))
        return
    start = 0
    while start < len(whole):
        part = np.frombuffer(whole[start : start + CHUNK], np.uint8)
        ends = np.flatnonzero(part < 0x80)
        if not len(ends):
            raise ValueError("a number without an end")
        starts = np.concatenate([[0], ends[:-1] + 1])
        bits = np.zeros(len(ends), "<u4")
        for place in range(3):
            there = starts + place <= ends
            low = part[starts[there] + place].astype("<u4") & 0x7F
            bits[there] |= low << (7 * place)
        yield memoryview((bits & 0xFFFF).astype("<u2").tobytes())
        start += int(ends[-1]) + 1


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


def _tensors(model: memoryview) -> Iterator[Fields]:
    for number, value in _fields(model):
        if number == GRAPH:
            yield from _of_graph(value)


def _of_graph(graph: memoryview) -> Iterator[Fields]:
    """The weights of a graph and of the branches in it, constants too."""
    for number, value in _fields(graph):
        if number == INITIALIZER:
            yield _fields(value)
        elif number == NODE:
            for inner, attribute in _fields(value):
                if inner == ATTRIBUTE:
                    yield from _of_attribute(attribute)


def _of_attribute(attribute: memoryview) -> Iterator[Fields]:
    name, numbers = "", []
    for number, value in _fields(attribute):
        if number == NAME_OF:
            name = bytes(value).decode()
        elif number in (FLOAT_OF, FLOATS_OF):
            numbers.append((FLOATS, value))
        elif number == TENSOR_OF:
            yield _fields(value)
        elif number in (GRAPH_OF, GRAPHS_OF):
            yield from _of_graph(value)
    if name in CONSTANTS:
        yield [(DATA_TYPE, FLOAT), (NAME, name.encode()), *numbers]


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
