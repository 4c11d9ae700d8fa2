"""Energy of a block, by CodeCarbon (https://codecarbon.io), in watt-hours of the whole machine.

    with EnergyMeter() as meter:
        train()
    meter.record        # {"wh": 3.1, "method": ..., "estimated": True}
    co2(3.1, "DEU")     # {"co2_g": 1.2, "g_per_kwh": 381, ...}

Only what a counter of the hardware gave (RAPL of the processor) is a measurement; else CodeCarbon
multiplies the processor's rated power by its load, and the figure is labelled `estimated`. Memory
is always an estimate there, so it is left out. Shared by trainings and load tests.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Self

ABSENT = "codecarbon is not installed: energy was left out"
WORLD = ""  # no country: the mean of the world


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
        if self._tracker:
            self._tracker.stop()  # in any case: it is a thread
            # CodeCarbon logs its own faults and goes on; then there is nothing to read.
            seen = getattr(self._tracker, "final_emissions_data", None)
            self.record = _record(seen) if seen and kind is None else None


def energy_of(meter: EnergyMeter, country: str = WORLD) -> dict[str, Any] | None:
    """What a meter saw, with the CO2 of so much electricity; None where it saw nothing."""
    return {**meter.record, **co2(meter.record["wh"], country)} if meter.record else None


def _tracker(every_s: float) -> Any:
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        return None
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    return OfflineEmissionsTracker(
        country_iso_code="USA",  # it asks for one; only its energy is used, see `co2`
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


def co2(wh: float, country: str = WORLD) -> dict[str, Any]:
    """What so much electricity emits on average, from the tables that CodeCarbon brings along.

    country: ISO 3166-1 alpha-3, e.g. "DEU"; without one, or where it is not in the tables, the mean
    of the world. Always an estimate: a mean over a year and a country, not of the plug.
    """
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    source = DataSource()
    world = float(source.get_carbon_intensity_per_source_data()["world_average"])
    g_per_kwh = world
    if country in source.get_global_energy_mix_data():
        place = GeoMetadata(country_iso_code=country, country_name=country)
        kg = Emissions(source).get_country_emissions(Energy.from_energy(kWh=1), place)
        g_per_kwh = 1000 * kg
    else:
        country = WORLD
    return {
        "co2_g": wh / 1000 * g_per_kwh,
        "g_per_kwh": round(g_per_kwh, 1),
        "of": country or "world average",
        "co2_estimated": True,
    }
