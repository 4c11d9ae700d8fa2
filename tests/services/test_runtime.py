"""One loaded variant: the same numbers alone and together, on the device that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from services.errors import ArtifactError
from services.manifest import read_manifest
from services.plan import PlanFile, unmeasured
from services.runtime import CPU, CUDA, Runtime, UnavailableError, choose_provider
from services.windows import Window
from tests.services import tiny
from tests.services.conftest import Store


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


def test_windows_are_run_in_the_calls_of_the_plan(runtimes: dict[str, Runtime]) -> None:
    calls: list[tuple[int, int]] = []
    runtime = runtimes["reader/full"]
    before, runtime.observe = runtime.plan, lambda windows, tokens: calls.append((windows, tokens))
    windows = runtime.task.encode("when", ["in paris", "on monday"]).windows
    runtime.infer(windows)
    runtime.follow(replace(before, windows=1))
    runtime.infer(windows)
    runtime.follow(before)
    runtime.observe = None
    assert calls == [(2, 14), (1, 7), (1, 7)]


def test_a_measured_plan_is_kept_and_found_again(store: Store, tmp_path: Path) -> None:
    plans, folder = PlanFile(tmp_path / "plans.json"), store.folders["intent/full"]
    runtime = Runtime.load(folder, cores=2, plans=plans)
    assert runtime.plan == unmeasured(2, gpu=False)
    plan = runtime.measure_plan(2)
    assert plan.windows_per_s > 0 and plan.calls * plan.threads == 2
    plans.keep(runtime.plan_key(2), plan)
    assert Runtime.load(folder, cores=2, plans=plans).plan == plan
    assert Runtime.load(folder, cores=3, plans=plans).plan == unmeasured(3, gpu=False)


def test_the_graph_that_serves_is_not_the_one_that_is_tried(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph keeps the memory of its largest call, and the largest are those of the trials."""
    runtime = Runtime.load(store.folders["intent/full"])
    tried: set[int] = set()
    trial = Runtime._trial

    def remember(self: Runtime, graphs: Any, windows: Sequence[Window]) -> Any:
        tried.add(id(graphs))
        return trial(self, graphs, windows)

    monkeypatch.setattr(Runtime, "_trial", remember)
    plan = runtime.measure_plan(2)
    assert len(tried) >= 1
    assert id(runtime._graphs) not in tried
    serving = runtime._graphs
    runtime.follow(replace(plan, threads=runtime.plan.threads))
    assert runtime._graphs is serving


def test_a_graph_that_was_replaced_after_loading_is_not_opened_again(tmp_path: Path) -> None:
    folder = tiny.write_variant(tmp_path / "variant")
    runtime = Runtime.load(folder)
    serving, plan = runtime._graphs, runtime.plan
    onnx.save(tiny.classifier({"balance": (0.0, 6.0, 0.0)}), folder / "model.onnx")
    with pytest.raises(ArtifactError, match=r"model\.onnx has sha256 .*; its manifest says"):
        runtime.follow(replace(plan, threads=plan.threads + 1))
    with pytest.raises(ArtifactError, match=r"model\.onnx has sha256"):
        runtime.measure_plan(2)
    assert (runtime._graphs, runtime.plan) == (serving, plan)


def test_until_it_is_measured_an_int8_window_is_run_alone(runtimes: dict[str, Runtime]) -> None:
    assert runtimes["reader/distilled-int8"].plan.windows == 1
    assert runtimes["reader/full"].plan.windows > 1


def test_a_call_over_several_cores_gives_the_same(runtimes: dict[str, Runtime]) -> None:
    runtime = runtimes["intent/full"]
    windows = runtime.task.encode("send money").windows
    before, expected = runtime.plan, runtime.infer(windows)[0]["logits"]
    runtime.follow(replace(before, calls=1, threads=2))
    np.testing.assert_allclose(runtime.infer(windows)[0]["logits"], expected, atol=1e-6)
    runtime.follow(before)


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
