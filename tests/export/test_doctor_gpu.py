"""What the doctor says of a GPU; the device is a fake, the small graph is run on the CPU."""

from __future__ import annotations

import subprocess

import onnx
import onnxruntime
import pytest

from export import doctor_gpu
from services import gpu, providers
from services.binding import Plain
from services.providers import CPU, CUDA, UnavailableError
from tests.services.fake_cuda import FakeCuda

KERNEL = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build\n"


@pytest.fixture
def fake_device(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "open_driver", lambda: gpu.Driver(FakeCuda()))
    (tmp_path / "version").write_text(KERNEL)
    monkeypatch.setattr(doctor_gpu, "VERSION_FILE", tmp_path / "version")


@pytest.fixture
def gpu_package(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0")
    monkeypatch.setattr(providers, "load_libraries", tuple)


def no_driver():
    raise gpu.NoDeviceError("NVIDIA's driver was not found.", "Install the driver.")


@pytest.mark.usefixtures("fake_device")
def test_a_device_is_described():
    found, ok = doctor_gpu.device()
    assert ok is True
    assert found == (
        "NVIDIA Test 1000, 80,000 MB, compute capability 9.0, driver 580.159.04 for CUDA up to 13.0"
    )


def test_no_device_is_no_fault(monkeypatch):
    monkeypatch.setattr(gpu, "open_driver", no_driver)
    found = "none: NVIDIA's driver was not found. Install the driver"
    assert doctor_gpu.device() == (found, None)


def test_without_the_kernel_module_nvidia_smi_is_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_gpu, "VERSION_FILE", tmp_path / "none")
    monkeypatch.setattr(subprocess, "check_output", lambda *a, **k: "570.1\n570.1\n")
    assert doctor_gpu.driver_version() == "570.1"

    def missing(*arguments, **options):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(subprocess, "check_output", missing)
    assert doctor_gpu.driver_version() == ""


@pytest.mark.usefixtures("gpu_package")
@pytest.mark.parametrize(("provider", "ok"), [("auto", None), ("cpu", None), ("cuda", False)])
def test_no_device_is_a_fault_where_cuda_is_asked_for(monkeypatch, provider, ok):
    monkeypatch.setattr(gpu, "open_driver", no_driver)
    found, verdict = doctor_gpu.cuda(provider)
    assert found.startswith("not used: NVIDIA's driver was not found. Install the driver")
    assert verdict is ok


@pytest.mark.usefixtures("fake_device", "gpu_package")
def test_a_device_that_lies_idle_for_want_of_libraries_is_a_fault(monkeypatch):
    monkeypatch.setattr(providers, "load_libraries", lambda: ("libcublas.so.13",))
    found, ok = doctor_gpu.cuda("auto")
    assert ok is False
    assert "libcublas.so.13 cannot be loaded. Install" in found


@pytest.mark.usefixtures("fake_device", "gpu_package")
def test_cuda_works_only_if_a_graph_runs(monkeypatch):
    monkeypatch.setattr(doctor_gpu, "run_on_cuda", lambda: None)
    found, ok = doctor_gpu.cuda("auto")
    assert ok is True and found.startswith("a small graph runs on CUDA 13.0; ")
    for error in (UnavailableError("It fell back.", "Try."), RuntimeError("CUDNN failure\nmore")):

        def fail(error=error):
            raise error

        monkeypatch.setattr(doctor_gpu, "run_on_cuda", fail)
        found, ok = doctor_gpu.cuda("auto")
        assert ok is False and str(error).splitlines()[0] in found and "\n" not in found


def test_the_small_graph_is_right_and_a_wrong_one_is_told():
    content = doctor_gpu.small_graph().SerializeToString()
    onnx.checker.check_model(content)
    session = onnxruntime.InferenceSession(content, providers=[CPU])
    doctor_gpu.check_product(Plain(session))

    class Wrong:
        def run(self, names, feeds, kept=()):
            return [feeds["x"]]

    with pytest.raises(ValueError, match="its product is off by"):
        doctor_gpu.check_product(Wrong())
