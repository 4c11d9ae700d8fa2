"""Calls of a graph whose inputs and outputs are bound to the device that it runs on.

    graph = on_device(session)
    logits, *cache = graph.run(names, feeds, kept=names[1:])   # the cache never leaves the device

Unbound, ONNX Runtime copies every input and output with each call. Bound, an output that is only
the next call's input stays where it is, and everything else is copied once, at the ends of the
call (https://onnxruntime.ai/docs/performance/tune-performance/iobinding.html). On a CPU there is
nothing to copy: sessions there are called as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort

from services.providers import CUDA

Value = Any  # a numpy array, or an onnxruntime.OrtValue on the device


class Graph(Protocol):
    def run(
        self, names: Sequence[str], feeds: Mapping[str, Value], kept: Collection[str] = ()
    ) -> list[Value]:
        """The outputs `names`: those in `kept` as they can be fed again, the others as arrays."""


class Plain:
    """A session in the memory of this process."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def run(
        self, names: Sequence[str], feeds: Mapping[str, Value], kept: Collection[str] = ()
    ) -> list[Value]:
        found: list[Value] = self.session.run(list(names), feeds)
        return found


class Bound:
    """A session whose inputs and outputs are bound for each call, so that threads may share it."""

    def __init__(self, session: Any, device: str = "cuda") -> None:
        """device: as ONNX Runtime names it; "cpu" binds to the memory of this process."""
        self.session, self._device = session, device

    def run(
        self, names: Sequence[str], feeds: Mapping[str, Value], kept: Collection[str] = ()
    ) -> list[Value]:
        binding = self.session.io_binding()
        for name, value in feeds.items():
            if isinstance(value, ort.OrtValue):
                binding.bind_ortvalue_input(name, value)
            else:  # copied to where the graph wants it: shapes, say, stay with the CPU
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name in names:
            binding.bind_output(name, self._device if name in kept else "cpu")
        binding.synchronize_inputs()
        self.session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return [
            output if name in kept else output.numpy()
            for name, output in zip(names, binding.get_outputs(), strict=True)
        ]


def on_device(session: Any) -> Graph:
    """The session, bound where it runs on CUDA."""
    return Bound(session) if session.get_providers()[0] == CUDA else Plain(session)


def to_host(value: Value) -> Any:
    """The numpy array of what a graph gave."""
    return value.numpy() if isinstance(value, ort.OrtValue) else value
