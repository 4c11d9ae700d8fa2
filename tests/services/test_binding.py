"""Bound and plain calls of a graph give the same; bound ones on the CPU, for want of a GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from services.binding import Bound, Plain, on_device, to_host
from services.providers import CUDA
from services.runtime import Runtime
from services.windows import pad

TEXTS = ["send money", "my card was stolen", "what is the balance " * 12]


def feeds_of(runtime: Runtime) -> dict[str, Any]:
    encoded = [
        runtime.task.encode("when", [text])
        if runtime.manifest.task == "qa"
        else runtime.task.encode(text)
        for text in TEXTS
    ]
    windows = [window for one in encoded for window in one.windows]
    return pad(windows, runtime.task.tokenizer.pad_id, runtime.manifest.inputs)


def bound(runtime: Runtime) -> Bound:
    return Bound(runtime._graphs.session, "cpu")


@pytest.mark.parametrize(
    "key", ["intent/full", "reader/full", "highlights/full", "intent/distilled-int8"]
)
def test_bound_calls_give_what_plain_calls_give(runtimes: dict[str, Runtime], key: str) -> None:
    runtime = runtimes[key]
    names, feeds = runtime.manifest.outputs, feeds_of(runtime)
    for one, other in zip(
        bound(runtime).run(names, feeds), runtime._graphs.run(names, feeds), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_what_is_kept_stays_a_value_of_the_runtime_and_the_rest_are_arrays(
    runtimes: dict[str, Runtime],
) -> None:
    runtime = runtimes["reader/full"]
    names, feeds = ["start_logits", "end_logits"], feeds_of(runtime)
    start, end = bound(runtime).run(names, feeds, kept=["end_logits"])
    assert isinstance(start, np.ndarray) and isinstance(end, ort.OrtValue)
    plain = runtime._graphs.run(names, feeds)
    np.testing.assert_array_equal(start, plain[0])
    np.testing.assert_array_equal(to_host(end), plain[1])


def test_what_is_kept_can_be_fed_again(runtimes: dict[str, Runtime]) -> None:
    runtime = runtimes["intent/full"]
    names, feeds = runtime.manifest.outputs, feeds_of(runtime)
    again = {name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in feeds.items()}
    np.testing.assert_array_equal(
        bound(runtime).run(names, again)[0], runtime._graphs.run(names, feeds)[0]
    )


def test_arrays_with_gaps_are_read_as_they_look(runtimes: dict[str, Runtime]) -> None:
    runtime = runtimes["intent/full"]
    names, feeds = runtime.manifest.outputs, feeds_of(runtime)
    wide = {name: np.repeat(value, 2, axis=1)[:, ::2] for name, value in feeds.items()}
    assert not wide["input_ids"].flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(
        bound(runtime).run(names, wide)[0], runtime._graphs.run(names, feeds)[0]
    )


def test_threads_may_share_a_bound_session(runtimes: dict[str, Runtime]) -> None:
    runtime = runtimes["intent/full"]
    names, feeds = runtime.manifest.outputs, feeds_of(runtime)
    rows = [{name: value[i : i + 1] for name, value in feeds.items()} for i in range(3)] * 20
    expected = [runtime._graphs.run(names, row)[0] for row in rows]
    shared = bound(runtime)
    with ThreadPoolExecutor(4) as pool:
        found = [outputs[0] for outputs in pool.map(lambda row: shared.run(names, row), rows)]
    np.testing.assert_array_equal(found, expected)


def test_only_sessions_on_cuda_are_bound(runtimes: dict[str, Runtime]) -> None:
    class OnCuda:
        def get_providers(self) -> list[str]:
            return [CUDA]

    assert isinstance(on_device(runtimes["intent/full"]._graphs.session), Plain)
    assert isinstance(on_device(OnCuda()), Bound)
