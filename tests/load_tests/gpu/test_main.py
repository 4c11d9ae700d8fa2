"""A run over tiny variants, on the CPU for want of a GPU; and the refusal where there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import load_tests.gpu.__main__ as command
from load_tests.gpu.found import find_variants
from load_tests.gpu.plan import QUICK
from load_tests.gpu.table import section
from load_tests.gpu.worker import observe
from load_tests.modules import LoadError
from services import gpu
from services.providers import cuda_fault
from tests.services import tiny
from tests.services.fake_cuda import FakeCuda

PLAN = replace(QUICK, seconds=0.01, tokens=(8, 16), windows=(1, 4), mixed=8, samples=5)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built")
    for key in ("intent/full", "intent/full-int8", "reader/full", "zeroshot/full"):
        tiny.write_variant(root / key, *key.split("/"), max_tokens=256)
    return root


def on_the_cpu(request: dict[str, Any]) -> dict[str, Any]:
    """The real worker, in this process, through JSON as between processes."""
    sent = json.loads(json.dumps({**request, "provider": "cpu"}, default=str))
    answered: dict[str, Any] = json.loads(json.dumps(observe(sent)))
    return answered


def test_every_variant_is_measured_and_compared(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "send money", "label": "transfer_money"}\n')
    plan = replace(PLAN, data=(("intent", rows),))
    told: list[str] = []
    found = find_variants(tmp_path, built)
    measured = command.measure_all(found, plan, 0, on_the_cpu, told.append)
    assert told[:2] == ["intent/full on cuda", "intent/full-int8 on cpu"]
    full, int8 = measured[:2]
    assert [(point["tokens"], point["windows"]) for point in full["points"]] == [
        *((8, 1), (8, 4), (16, 1), (16, 4))
    ]
    assert all(point["windows_per_s"] > 0 for row in measured for point in row["points"])
    assert full["mixed"]["sorted_windows_per_s"] > 0
    assert full["quality"] == {"metric": "label agreement", "value": 1.0, "n": 1}
    assert (int8["agreement_with_fp32"], int8["agreement_n"], int8["on"]) == (1.0, 5, "CPU")
    assert "agreement_with_fp32" not in full and "answers" not in full
    assert all("quality" not in row for row in measured[2:])
    monkeypatch.setattr(gpu, "open_driver", lambda: gpu.Driver(FakeCuda()))
    record = command.record_of(found, measured, plan, "python -m load_tests.gpu")
    command.write(record, tmp_path / "out" / "gpu.json")
    kept = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert kept["device"]["name"] == "NVIDIA Test 1000"
    assert kept["without_fp16"] == ["intent/full", "reader/full", "zeroshot/full"]
    assert kept["environment"]["plan"]["data"] == {"intent": "rows.jsonl"}
    assert "| intent | full-int8 | CPU | " in section(kept)


def test_one_that_fails_costs_only_its_own_row(built: Path, tmp_path: Path) -> None:
    def ask(request: dict[str, Any]) -> dict[str, Any]:
        if "full-int8" in request["folder"]:
            raise LoadError("It failed:\nRuntimeError: out of memory")
        return on_the_cpu(request)

    found = find_variants(tmp_path, built, ["intent"])
    full, int8 = command.measure_all(found, replace(PLAN, mixed=0), 0, ask, print)
    assert "points" in full and int8["fault"] == "RuntimeError: out of memory"


def test_a_graph_that_cannot_be_run_at_a_size_is_told(built: Path) -> None:
    class Broken:
        def call(self, windows: Any) -> None:
            raise RuntimeError("Failed to allocate memory\nand more")

    from load_tests.gpu.worker import measured

    assert measured(Broken(), [], 1, 0.01) == {"fault": "Failed to allocate memory"}  # type: ignore[arg-type]


def test_without_a_gpu_it_is_refused(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if cuda_fault() is None:
        pytest.skip("there is a GPU")
    out = tmp_path / "gpu.json"
    assert command.main(["--quick", "--variants", str(built), "--out", str(out)]) == 2
    assert "There is no GPU to measure: " in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("data", ["intent", "=x", "intent="])
def test_data_needs_a_model_and_a_file(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--data", data]) == 2
    assert "Write MODEL=FILE" in capsys.readouterr().err


def test_the_command_is_kept_without_the_folders_of_this_machine() -> None:
    shown = command._command(["--variants", "/a/b", "--data", "intent=/c/d.jsonl"])
    assert shown == "python -m load_tests.gpu --variants b --data intent=d.jsonl"
