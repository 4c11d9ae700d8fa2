"""Where graphs can run here, with which options, and why not on CUDA (the device is a fake)."""

from __future__ import annotations

from collections.abc import Iterator

import onnxruntime as ort
import pytest

from services import gpu, providers
from services.providers import (
    CPU,
    CUDA,
    cuda_fault,
    cuda_options,
    limit_gpu_memory,
    offered_providers,
    session_providers,
)
from tests.services.fake_cuda import NO_DEVICE, FakeCuda


@pytest.fixture
def gpu_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if onnxruntime-gpu, built for CUDA 13, was installed in place of onnxruntime."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "cuda_version", "13.0")
    monkeypatch.setattr(providers, "load_libraries", tuple)


def see(monkeypatch: pytest.MonkeyPatch, library: FakeCuda) -> None:
    monkeypatch.setattr(gpu, "open_driver", lambda: gpu.Driver(library))


@pytest.fixture
def limited() -> Iterator[None]:
    limit_gpu_memory(2_000)
    yield
    limit_gpu_memory(0)


def test_without_a_limit_none_is_given() -> None:
    assert session_providers(CPU) == [CPU]
    assert session_providers(CUDA) == [(CUDA, cuda_options()), CPU]
    assert "gpu_mem_limit" not in cuda_options()
    assert cuda_options()["use_tf32"] == "0"


@pytest.mark.usefixtures("limited")
def test_the_limit_is_in_bytes() -> None:
    ((_, options), _) = session_providers(CUDA)
    assert options["gpu_mem_limit"] == "2000000000"
    assert session_providers(CPU) == [CPU]


def test_the_cpu_package_offers_no_cuda() -> None:
    if CUDA in ort.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed")
    assert CPU in offered_providers() and CUDA not in offered_providers()
    fault = cuda_fault()
    assert fault is not None and "without CUDA" in fault[0] and "gpu extra" in fault[1]


@pytest.mark.usefixtures("gpu_package")
def test_cuda_is_offered_where_there_is_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    see(monkeypatch, FakeCuda())
    assert (offered_providers(), cuda_fault()) == ([CUDA, CPU], None)
    see(monkeypatch, FakeCuda(code=NO_DEVICE))
    assert offered_providers() == [CPU]


@pytest.mark.usefixtures("gpu_package")
@pytest.mark.parametrize(
    ("library", "missing", "found", "next_step"),
    [
        (FakeCuda(code=NO_DEVICE), (), "sees no device", "CUDA_VISIBLE_DEVICES"),
        (FakeCuda(cuda=12080), (), "runs CUDA 12.8", "newer driver"),
        (FakeCuda(), ("libcublas.so.13",), "libcublas.so.13 cannot", "onnxruntime-gpu[cuda,cudnn]"),
    ],
)
def test_why_cuda_would_not_work(
    monkeypatch: pytest.MonkeyPatch,
    library: FakeCuda,
    missing: tuple[str, ...],
    found: str,
    next_step: str,
) -> None:
    see(monkeypatch, library)
    monkeypatch.setattr(providers, "load_libraries", lambda: missing)
    fault = cuda_fault()
    assert fault is not None
    assert found in fault[0] and next_step in fault[1]


def test_the_libraries_that_fail_are_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def preload() -> None:
        print("Failed to load libcublas.so.13: libcublas.so.13: cannot open shared object file")
        print("Failed to load libcublas.so.13: again")
        print("Please follow the documentation.")

    monkeypatch.setattr(ort, "preload_dlls", preload)
    providers.load_libraries.cache_clear()
    assert providers.load_libraries() == ("libcublas.so.13",)
    providers.load_libraries.cache_clear()
