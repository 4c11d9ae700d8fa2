"""GPU memory by NVML, on a library that is made up: CI has no GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from load_tests.nvml import nvml, used_mb


class Library:
    """Two GPUs; processes 7 and 8 use the first one."""

    def __init__(self, known: bool = True) -> None:
        self.known = known

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetComputeRunningProcesses(self, device: int) -> list[Any]:
        if device:
            return []
        used = [500_000_000, 100_000_000] if self.known else [None, None]
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=u) for pid, u in zip((7, 8), used, strict=True)
        ]

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Any:
        return SimpleNamespace(used=50_000_000 if device else 850_000_000)


def test_the_memory_of_the_tree_is_counted() -> None:
    assert used_mb(Library(), [7]) == 500.0
    assert used_mb(Library(), [7, 8, 9]) == 600.0


def test_where_processes_are_hidden_all_that_is_used_is_told() -> None:
    assert used_mb(Library(known=False), [7]) == 900.0


@pytest.mark.gpu
@pytest.mark.skipif(nvml() is None, reason="there is no NVIDIA GPU")
def test_a_machine_with_a_gpu_has_nvml() -> None:
    library = nvml()
    assert library is not None
    assert used_mb(library, []) > 0
