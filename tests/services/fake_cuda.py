"""A stand-in for NVIDIA's driver library: no machine that runs these tests has a device.

It answers as the CUDA Driver API is documented; that the real one does shows only on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NO_DEVICE = 100


@dataclass
class FakeCuda:
    """code: of cuInit; devices: how many there are; contexts: retained and not yet released"""

    code: int = 0
    devices: int = 1
    cuda: int = 13000
    free: int = 60_000_000_000
    total: int = 80_000_000_000
    fails: dict[str, int] = field(default_factory=dict)
    contexts: int = 0

    def cuInit(self, flags: int) -> int:
        return self.code

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self.devices
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = b"NVIDIA Test 1000"
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> int:
        memory._obj.value = self.total
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = self.cuda
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: int, device: Any) -> int:
        value._obj.value = {75: 9, 76: 0}[which]
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:
        self.contexts += 1
        return self.fails.get("cuDevicePrimaryCtxRetain", 0)

    def cuDevicePrimaryCtxRelease_v2(self, device: Any) -> int:
        self.contexts -= 1
        return 0

    def cuCtxPushCurrent_v2(self, context: Any) -> int:
        return 0

    def cuCtxPopCurrent_v2(self, context: Any) -> int:
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:
        free._obj.value, total._obj.value = self.free, self.total
        return self.fails.get("cuMemGetInfo_v2", 0)

    def cuGetErrorName(self, code: int, name: Any) -> int:
        if code != 3:
            return 1
        name._obj.value = b"CUDA_ERROR_NOT_INITIALIZED"
        return 0
