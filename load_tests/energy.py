"""Energy of a block, by CodeCarbon (https://codecarbon.io), in watt-hours of the whole machine.

Out: {wh, method, estimated}. Only what a counter of the hardware gave (RAPL of the processor) is a
measurement; else CodeCarbon multiplies the processor's rated power by its load, and the figure is
labelled `estimated`. Memory is always an estimate there, so it is left out.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

ABSENT = "codecarbon is not installed: energy was left out"


class EnergyMeter:
    """Watches while a `with` block runs; `record` is None where CodeCarbon is not installed."""

    def __init__(self, every_s: float = 0.5) -> None:
        self.every_s = every_s
        self.record: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        self._tracker = _tracker(self.every_s)
        if self._tracker:
            self._tracker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._tracker and kind is None:
            self._tracker.stop()
            # CodeCarbon logs its own faults and goes on; then there is nothing to read.
            seen = getattr(self._tracker, "final_emissions_data", None)
            self.record = _record(seen) if seen else None


def _tracker(every_s: float) -> Any:
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        return None
    return OfflineEmissionsTracker(
        country_iso_code="USA",  # it asks for one; only energy is used, not what it emitted
        measure_power_secs=every_s,
        output_methods=[],
        log_level="critical",
        allow_multiple_runs=True,
    )


def _record(data: Any) -> dict[str, Any]:
    """wh: processor and GPU."""
    method = measured_by()
    return {
        "wh": 1000 * (data.cpu_energy + data.gpu_energy),
        "method": method or "rated power of the processor by its load",
        "estimated": not method,
    }


def measured_by() -> str:
    """The counter of the hardware that CodeCarbon reads; empty where it must estimate."""
    from codecarbon.core import cpu

    if cpu.is_rapl_available():
        return "RAPL"
    if cpu.is_powergadget_available():
        return "Intel Power Gadget"
    return ""
