"""What NVIDIA's driver says of a device, and the words for what it does not have (with a fake)."""

from __future__ import annotations

import pytest

from services import gpu
from services.gpu import Device, Driver, NoDeviceError
from tests.services.fake_cuda import NO_DEVICE, FakeCuda


def test_the_device_is_described() -> None:
    assert Driver(FakeCuda()).device() == Device("NVIDIA Test 1000", 80_000, "9.0", "13.0")
    assert Driver(FakeCuda(cuda=12040)).device().cuda == "12.4"


def test_memory_is_asked_in_the_context_of_the_graphs_which_is_given_back() -> None:
    library = FakeCuda()
    assert Driver(library).memory() == (20_000.0, 80_000.0)
    assert library.contexts == 0


def test_a_context_is_given_back_when_the_question_fails() -> None:
    library = FakeCuda(fails={"cuMemGetInfo_v2": 3})
    with pytest.raises(NoDeviceError, match="cuMemGetInfo_v2 with CUDA_ERROR_NOT_INITIALIZED"):
        Driver(library).memory()
    assert library.contexts == 0


@pytest.mark.parametrize(
    ("library", "words"),
    [
        (FakeCuda(code=NO_DEVICE), "sees no device.*CUDA_VISIBLE_DEVICES"),
        (FakeCuda(devices=0), "sees no device"),
        (FakeCuda(code=3), r"does not start \(CUDA_ERROR_NOT_INITIALIZED\)"),
        (FakeCuda(code=804), r"does not start \(error 804\)"),
    ],
)
def test_why_there_is_no_device(library: FakeCuda, words: str) -> None:
    with pytest.raises(NoDeviceError, match=words):
        Driver(library)


def test_without_a_driver_the_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LIBRARY", "libnowhere.so.1")
    gpu.open_driver.cache_clear()
    with pytest.raises(NoDeviceError, match=r"libnowhere\.so\.1 cannot be loaded.*Install"):
        gpu.find_device()
