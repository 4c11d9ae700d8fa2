"""The CUDA device that this process sees, as NVIDIA's driver tells it.

    device = find_device()          # its name, memory, CUDA version; NoDeviceError says why not
    used_mb, total_mb = device_memory()

The driver's own library answers, through ctypes: nothing has to be installed for it, it costs
microseconds, and it numbers devices as CUDA does, so CUDA_VISIBLE_DEVICES holds. Function names
and return codes are those of the CUDA Driver API (cuda.h).
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

from services.errors import UsageError

LIBRARY = "libcuda.so.1"
MB = 1_000_000
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{MAJOR,MINOR}


class NoDeviceError(UsageError):
    """There is no CUDA device for this process; the message says what was found instead."""

    code = "unavailable"
    status = 503


@dataclass(frozen=True, slots=True)
class Device:
    """name: as its maker calls it; memory_mb: all of its memory
    capability: of the chip, like "9.0"; cuda: the newest CUDA that the driver runs, like "13.0"
    """

    name: str
    memory_mb: int
    capability: str
    cuda: str


class Driver:
    """NVIDIA's driver, opened by this process."""

    def __init__(self, library: Any) -> None:
        """library: as ctypes loads it; raises NoDeviceError where it finds no device."""
        self._library = library
        code = library.cuInit(0)
        if code == NO_DEVICE:
            raise NoDeviceError(
                "NVIDIA's driver sees no device.",
                "Give one to this process: CUDA_VISIBLE_DEVICES, `docker run --gpus all`.",
            )
        if code:
            raise NoDeviceError(
                f"NVIDIA's driver does not start ({self._words(code)}).",
                "Check it with nvidia-smi.",
            )
        count = c_int()
        self._ask("cuDeviceGetCount", byref(count))
        if not count.value:
            raise NoDeviceError("NVIDIA's driver sees no device.", "Check CUDA_VISIBLE_DEVICES.")
        self._device = c_int()
        self._ask("cuDeviceGet", byref(self._device), 0)

    def device(self) -> Device:
        """The first device, the one that graphs run on."""
        name = ctypes.create_string_buffer(256)
        self._ask("cuDeviceGetName", name, len(name), self._device)
        memory = c_size_t()
        self._ask("cuDeviceTotalMem_v2", byref(memory), self._device)
        version = c_int()
        self._ask("cuDriverGetVersion", byref(version))
        return Device(
            name.value.decode(errors="replace"),
            memory.value // MB,
            f"{self._attribute(MAJOR)}.{self._attribute(MINOR)}",
            f"{version.value // 1000}.{version.value % 1000 // 10}",
        )

    def memory(self) -> tuple[float, float]:
        """Used by all processes, and in all, in MB; opens the context that the graphs run in."""
        context, before = c_void_p(), c_void_p()
        self._ask("cuDevicePrimaryCtxRetain", byref(context), self._device)
        self._ask("cuCtxPushCurrent_v2", context)
        try:
            free, total = c_size_t(), c_size_t()
            self._ask("cuMemGetInfo_v2", byref(free), byref(total))
        finally:
            self._ask("cuCtxPopCurrent_v2", byref(before))
            self._ask("cuDevicePrimaryCtxRelease_v2", self._device)
        return (total.value - free.value) / MB, total.value / MB

    def _attribute(self, which: int) -> int:
        value = c_int()
        self._ask("cuDeviceGetAttribute", byref(value), which, self._device)
        return value.value

    def _ask(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise NoDeviceError(
                f"NVIDIA's driver answers {function} with {self._words(code)}.",
                "Check it with nvidia-smi.",
            )

    def _words(self, code: int) -> str:
        """CUDA_ERROR_..., or the number where the driver has no name for it."""
        name = c_char_p()
        found = self._library.cuGetErrorName(code, byref(name))
        return name.value.decode() if not found and name.value else f"error {code}"


@cache
def open_driver() -> Driver:
    """The driver, opened once; raises NoDeviceError where there is none, or no device."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NoDeviceError(
            f"NVIDIA's driver was not found ({LIBRARY} cannot be loaded).",
            "Install the driver, or in a container NVIDIA's container toolkit.",
        ) from error
    return Driver(library)


def find_device() -> Device:
    """The device that graphs run on; raises NoDeviceError that says why there is none."""
    return open_driver().device()


def device_memory() -> tuple[float, float]:
    """MB of the device's memory in use, by all its processes, and in all."""
    return open_driver().memory()
