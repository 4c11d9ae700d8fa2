"""Memory of a process tree on NVIDIA GPUs, by NVML (package `nvidia-ml-py`, which torch brings).

In: process ids. Out: megabytes over all GPUs, or None where there is none. Unlike `services.gpu` it
opens no context, which would itself take memory. Inside of a container NVML may see other process
ids than we do; then what all processes use is given.
"""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType
from typing import Any

from load_tests.memory import MB


def nvml() -> ModuleType | None:
    """NVML, begun; None without the package, the driver or a GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return pynvml if pynvml.nvmlDeviceGetCount() else None
    except pynvml.NVMLError:
        return None


def used_mb(library: Any, pids: Collection[int]) -> float:
    """Of these processes, where NVML knows them; else all that is used."""
    devices = [
        library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())
    ]
    mine = [
        process.usedGpuMemory
        for device in devices
        for process in library.nvmlDeviceGetComputeRunningProcesses(device)
        if process.pid in pids and process.usedGpuMemory is not None
    ]
    used = mine or [library.nvmlDeviceGetMemoryInfo(device).used for device in devices]
    return float(sum(used)) / MB
