"""Where ONNX Runtime can run graphs on this machine, and with which options.

    offered_providers()      # what sessions can be asked for here
    session_providers(CUDA)  # the argument of an InferenceSession
    cuda_fault()             # why CUDA would not work, before ONNX Runtime falls back to the CPU

The package onnxruntime-gpu offers CUDA on every machine; whether there is a device, a driver that
is new enough, and CUDA's libraries shows only when a session is opened, and then in its log alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from typing import Any

import onnxruntime as ort

from services.errors import UsageError
from services.gpu import MB, Device, NoDeviceError, find_device

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

STAY = "or set TRANSFER_PROVIDER=cpu"

Fault = tuple[str, str]  # what was found, what to do


class UnavailableError(UsageError):
    """A variant that this machine cannot run as it was asked to."""

    code = "unavailable"
    status = 503


class _Limit:
    memory_mb = 0


def limit_gpu_memory(memory_mb: int) -> None:
    """From now on, sessions on CUDA take at most so many MB of the device each (0: no limit)."""
    _Limit.memory_mb = memory_mb


def gpu_memory_limit() -> int:
    """MB that a session on CUDA may take now; 0: no limit."""
    return _Limit.memory_mb


def cuda_options(memory_mb: int = 0) -> dict[str, str]:
    """Options of the CUDA provider.

    memory_mb: limit of one session's arena (0: none); CUDA's own context comes on top
    """
    options = {
        "device_id": "0",  # of those that CUDA_VISIBLE_DEVICES leaves
        # The default doubles the arena each time; many small sessions share this device.
        "arena_extend_strategy": "kSameAsRequested",
        # The default tries every algorithm for each new shape, and here every call has a new one.
        "cudnn_conv_algo_search": "HEURISTIC",
        # fp32 means fp32: TF32 keeps 10 bits of the mantissa, as fp16 does.
        "use_tf32": "0",
    }
    return {**options, "gpu_mem_limit": str(memory_mb * MB)} if memory_mb else options


def session_providers(provider: str) -> list[Any]:
    """The `providers` of an InferenceSession; what CUDA has no kernel for runs on the CPU."""
    if provider == CPU:
        return [CPU]
    options = cuda_options(_Limit.memory_mb) if provider == CUDA else {}
    return [(provider, options), CPU]


def offered_providers() -> list[str]:
    """What graphs can be run by here: CUDA only where there is a device at all."""
    found = [one for one in (CUDA, CPU) if one in ort.get_available_providers()]
    if CUDA in found and isinstance(_device(), NoDeviceError):
        found.remove(CUDA)
    return found


def cuda_fault() -> Fault | None:
    """What keeps sessions from running on CUDA, and what to do; None where nothing is known to."""
    if CUDA not in ort.get_available_providers():
        return "onnxruntime is installed without CUDA", "Install the gpu extra in its place."
    device = _device()
    if isinstance(device, NoDeviceError):
        return device.message.rstrip("."), device.hint
    needed = _built_for()
    if int(device.cuda.split(".")[0]) < needed:
        return (
            f"the driver runs CUDA {device.cuda}; onnxruntime-gpu {ort.__version__} needs {needed}",
            f"Install a newer driver, {STAY}.",
        )
    if missing := load_libraries():
        return (
            f"{', '.join(missing)} cannot be loaded",
            f'Install "onnxruntime-gpu[cuda,cudnn]=={ort.__version__}", {STAY}.',
        )
    return None


def _device() -> Device | NoDeviceError:
    try:
        return find_device()
    except NoDeviceError as error:
        return error


def _built_for() -> int:
    """The major version of CUDA that onnxruntime was built for; 0 for none."""
    found = str(getattr(ort, "cuda_version", "") or "0").split(".")[0]
    return int(found) if found.isdigit() else 0


@cache
def load_libraries() -> Sequence[str]:
    """Load CUDA's libraries from NVIDIA's Python packages, else the system's; names what fails."""
    said = io.StringIO()
    with redirect_stdout(said):  # it prints what it cannot find
        ort.preload_dlls()
    return tuple(dict.fromkeys(re.findall(r"^Failed to load ([^\s:]+):", said.getvalue(), re.M)))
