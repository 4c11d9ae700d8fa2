"""One loaded variant: the same numbers alone and together, on the device that was asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from services.manifest import read_manifest
from services.runtime import CPU, CUDA, Runtime, UnavailableError, choose_provider, group_by_length
from tests.services import tiny


def test_outputs_come_in_order_and_without_padding(runtimes: dict[str, Runtime]) -> None:
    runtime = runtimes["reader/full"]
    encoded = runtime.task.encode("when", ["the card " * 100, "in paris"])
    outputs = runtime.infer(encoded.windows)
    assert [len(output["start_logits"]) for output in outputs] == [
        len(window) for window in encoded.windows
    ]
    alone = [runtime.infer([window])[0] for window in encoded.windows]
    for one, other in zip(outputs, alone, strict=True):
        np.testing.assert_allclose(one["start_logits"], other["start_logits"], atol=1e-6)


def test_many_threads_get_what_one_gets(runtimes: dict[str, Runtime]) -> None:
    runtime = runtimes["intent/full"]
    texts = ["send money", "my card was stolen", "what is the balance " * 40] * 20
    windows = [runtime.task.encode(text).windows for text in texts]
    expected = [runtime.infer(group)[0]["logits"] for group in windows]
    with ThreadPoolExecutor(4) as pool:
        found = [outputs[0]["logits"] for outputs in pool.map(runtime.infer, windows)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("lengths", "most", "groups"),
    [
        ([10, 11, 12], 4, [[0, 1, 2]]),
        ([10, 100, 11], 4, [[0, 2], [1]]),
        ([10] * 5, 2, [[0, 1], [2, 3], [4]]),
        ([10, 10], 1, [[0], [1]]),
        ([], 4, []),
    ],
)
def test_windows_of_similar_length_go_together(
    lengths: list[int], most: int, groups: list[list[int]]
) -> None:
    assert group_by_length(lengths, most) == groups


def test_an_int8_window_is_run_alone(runtimes: dict[str, Runtime]) -> None:
    calls: list[tuple[int, int]] = []
    for key in ("reader/full", "reader/distilled-int8"):
        runtime = runtimes[key]
        runtime.observe = lambda windows, tokens: calls.append((windows, tokens))
        runtime.infer(runtime.task.encode("when", ["in paris", "on monday"]).windows)
        runtime.observe = None
    assert calls == [(2, 14), (1, 7), (1, 7)]


@pytest.mark.parametrize(
    ("variant", "wanted", "offered", "chosen"),
    [
        ("full", "auto", [CPU], CPU),
        ("full", "auto", [CUDA, CPU], CUDA),
        ("full", "cpu", [CUDA, CPU], CPU),
        ("full-int8", "auto", [CUDA, CPU], CPU),
    ],
)
def test_where_a_variant_runs(
    tmp_path: Path, variant: str, wanted: str, offered: list[str], chosen: str
) -> None:
    manifest = read_manifest(tiny.write_variant(tmp_path / "variant", variant=variant))
    assert choose_provider(manifest, wanted, offered) == chosen  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("variant", "precision", "wanted", "offered", "words"),
    [
        ("full-fp16", "fp16", "auto", [CPU], "this machine offers CPUExecutionProvider"),
        ("full-fp16", "fp16", "cpu", [CUDA, CPU], "TRANSFER_PROVIDER=cpu forbids it"),
        ("full", "fp32", "cuda", [CPU], "intent/full needs CUDAExecutionProvider"),
        ("full-int8", "int8", "cuda", [CUDA, CPU], "Serve distilled-fp16"),
    ],
)
def test_a_variant_is_never_run_elsewhere_in_silence(
    tmp_path: Path, variant: str, precision: str, wanted: str, offered: list[str], words: str
) -> None:
    folder = tiny.write_variant(tmp_path / "variant", variant=variant, precision=precision)
    with pytest.raises(UnavailableError, match=words):
        choose_provider(read_manifest(folder), wanted, offered)  # type: ignore[arg-type]
