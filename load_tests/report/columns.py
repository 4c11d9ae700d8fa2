"""The columns of the report's table and of the CSV: a name, a value to sort by, how it is shown.

In: a row of the record. Out: values; None where something was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Value = float | str | None

NONE = "-"


@dataclass(frozen=True)
class Column:
    """key: in the CSV; head: over the column; hint: what it means; form: of a number"""

    key: str
    head: str
    value: Callable[[Row], Value]
    form: str = ""
    hint: str = ""

    def shown(self, row: Row) -> str:
        value = self.value(row)
        if value is None:
            return NONE
        return value if isinstance(value, str) else format(value, self.form)


def path(*names: str, times: float = 1.0) -> Callable[[Row], Value]:
    """A value deep in a row."""

    def find(row: Row) -> Value:
        found: Any = row
        for name in names:
            if not isinstance(found, Mapping) or found.get(name) is None:
                return None
            found = found[name]
        return found if isinstance(found, str) else float(found) * times

    return find


def _quality(row: Row) -> Value:
    return path("quality", "value", times=100.0)(row)


def _change(row: Row) -> Value:
    return path("loss", "value", times=-100.0)(row)


def _front(row: Row) -> Value:
    return {True: "front", False: "dominated", None: None}[row.get("pareto")]


COLUMNS: tuple[Column, ...] = (
    Column("model", "model", path("model")),
    Column("variant", "variant", path("variant")),
    Column("quality", "quality %", _quality, ".1f", "with its 95 % interval below"),
    Column("change_points", "change", _change, "+.1f", "points against full; paired where known"),
    Column("pareto", "Pareto", _front, "", "quality and p99: nothing else is better in both"),
    Column("agreement", "agrees", path("agreement_with_full"), ".3f", "same answer as full"),
    Column("p50_ms", "p50 ms", path("latency_ms", "p50"), ".2f", "one client, mixed lengths"),
    Column("p99_ms", "p99 ms", path("latency_ms", "p99"), ".2f", "one client, mixed lengths"),
    Column(
        "max_rps_at_slo",
        "req/s at SLO",
        path("max_rps_at_slo"),
        ",.0f",
        "highest Poisson rate whose p99 meets the target, confirmed",
    ),
    Column(
        "texts_per_s_in_batches",
        "in 8s/s",
        path("scenarios", "batch", "mixed", "texts_per_s"),
        ",.0f",
        "texts a second of one client, 8 a request",
    ),
    Column("offline_rps", "offline/s", path("throughput_rps"), ",.0f", "in process, no HTTP"),
    Column("idle_pss_mb", "idle MB", path("idle_pss_mb"), ",.0f", "PSS after warm-up"),
    Column("peak_pss_mb", "peak MB", path("peak_pss_mb"), ",.0f", "PSS at most; below: p95"),
    Column("disk_mb", "disk MB", path("disk_mb"), ",.1f"),
    Column("cold_start_s", "start s", path("cold_start_s"), ".1f", "start to ready"),
    Column("cost_per_million", "cost/M", path("cost_per_million"), ".3f", "at the price above"),
    Column("energy_wh_per_million", "Wh/M", path("energy_wh_per_million"), ",.1f", "offline"),
)
# In the CSV besides: numbers that the page shows below others.
EXTRA: tuple[Column, ...] = (
    Column("task", "task", path("task")),
    Column("metric", "", path("quality", "metric")),
    Column("p95_pss_mb", "", path("p95_pss_mb")),
    Column("quality_ci_low", "", path("quality", "ci_low", times=100.0)),
    Column("quality_ci_high", "", path("quality", "ci_high", times=100.0)),
    Column("quality_n", "", path("quality", "n")),
    Column("change_ci_low", "", path("loss", "ci_high", times=-100.0)),
    Column("change_ci_high", "", path("loss", "ci_low", times=-100.0)),
    Column("p95_ms", "", path("latency_ms", "p95")),
    Column("gpu_peak_mb", "", path("gpu_peak_mb")),
    Column("cgroup_peak_mb", "", path("cgroup_peak_mb")),
    Column("parameters", "", path("parameters")),
    Column("transport", "", path("transport")),
)
