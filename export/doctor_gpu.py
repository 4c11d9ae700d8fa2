"""What `transfer doctor` says of the GPU: the device, its driver, and whether CUDA really works.

Each answer is (found, ok): ok is True, False, or None where nothing is wrong and nothing proved.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from services.binding import Graph, on_device
from services.errors import TransferError
from services.gpu import NoDeviceError, find_device
from services.providers import CUDA, cuda_fault
from services.runtime import open_session
from services.settings import Provider

VERSION_FILE = Path("/proc/driver/nvidia/version")
CUDNN = "libcudnn.so.9"
SIZE = 64

Answer = tuple[str, bool | None]


def device() -> Answer:
    """Name, memory and driver of the device that graphs would run on."""
    try:
        found = find_device()
    except NoDeviceError as error:
        return f"none: {str(error).rstrip('.')}", None
    return (
        f"{found.name}, {found.memory_mb:,} MB, compute capability {found.capability}, "
        f"driver {driver_version() or 'of unknown version'} for CUDA up to {found.cuda}",
        True,
    )


def driver_version() -> str:
    """As the kernel module tells it, else nvidia-smi; empty where neither does."""
    try:
        if match := re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", VERSION_FILE.read_text()):
            return match.group(1)
    except OSError:
        pass
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.check_output(command, text=True, timeout=10, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return ""
    return lines.strip().splitlines()[0] if lines.strip() else ""


def cuda(provider: Provider) -> Answer:
    """Whether a graph runs on CUDA; a fault where it is asked for, or a device lies idle."""
    if fault := cuda_fault():
        return f"not used: {fault[0]}. {fault[1]}", False if _meant(provider) else None
    try:
        run_on_cuda()
    except TransferError as error:
        return str(error), False
    except Exception as error:  # onnxruntime has no common base class
        return f"a small graph fails on CUDA: {str(error).splitlines()[0][:200]}", False
    return f"a small graph runs on CUDA {onnxruntime.cuda_version}; {_cudnn()}", True


def _meant(provider: Provider) -> bool:
    """Whether CUDA was asked for, or is installed where there is a device."""
    if provider == "cuda":
        return True
    return CUDA in onnxruntime.get_available_providers() and device()[1] is True


def run_on_cuda() -> None:
    """A matrix product in half precision; raises where it cannot be run or is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.onnx"
        onnx.save(small_graph(), path)
        graph = on_device(open_session(path, CUDA, 1))
        check_product(graph)


def small_graph() -> onnx.ModelProto:
    """y = x x, computed in fp16."""
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["half", "half"], ["product"]),
        helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
    ]
    shape = [SIZE, SIZE]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def check_product(graph: Graph) -> None:
    """Raises ValueError when the graph's product is not that of numpy."""
    x = np.random.default_rng(0).standard_normal((SIZE, SIZE)).astype(np.float32)
    (found,) = graph.run(["y"], {"x": x})
    if not np.allclose(found, x @ x, atol=0.2):
        raise ValueError(f"its product is off by {np.abs(found - x @ x).max():.1f}")


def _cudnn() -> str:
    try:
        ctypes.CDLL(CUDNN)
    except OSError:
        return f"{CUDNN} was not found, which only graphs with convolutions need"
    return "cuDNN 9 is there"
