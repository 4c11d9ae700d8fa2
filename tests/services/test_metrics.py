"""What `/metrics` says of a CUDA device (a fake), and that it says nothing where none is used."""

from __future__ import annotations

import pytest

from services import gpu
from services.manifest import File
from services.metrics import Metrics
from services.providers import CPU, CUDA
from tests.services import tiny
from tests.services.fake_cuda import FakeCuda


def exposition(provider: str) -> str:
    metrics = Metrics()
    manifest = tiny.manifest(
        name="intent-full",
        task="classify",
        kind="sequence-classification",
        model="intent",
        variant="full",
        labels=["one", "two"],
        outputs=["logits"],
        files=[File("model.onnx", "0" * 64, 1)],
        decoding={},
    )
    metrics.loaded(manifest, provider, 12.0)
    return metrics.exposition().decode()


def test_the_device_is_asked_when_somebody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "open_driver", lambda: gpu.Driver(FakeCuda()))
    found = exposition(CUDA)
    assert 'transfer_gpu_memory_bytes{state="used"} 2e+' in found.replace("2.0e", "2e")
    assert 'transfer_gpu_memory_bytes{state="total"} 8e+' in found.replace("8.0e", "8e")
    assert "transfer_gpu_memory_bytes{state" not in exposition(CPU)


def test_a_driver_that_fails_costs_only_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = FakeCuda(fails={"cuMemGetInfo_v2": 3})
    monkeypatch.setattr(gpu, "open_driver", lambda: gpu.Driver(broken))
    found = exposition(CUDA)
    assert "transfer_gpu_memory_bytes{" not in found
    assert "transfer_model_memory_bytes{" in found
