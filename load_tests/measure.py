"""One variant under load: latency of a single stream, throughput when saturated, memory.

In: a running server and request bodies. Out: the measured fields of a report row. The load comes
from Locust in a process of its own (`load_tests.drive`). Run by `transfer bench`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from load_tests.cpu import MAX_GENERATOR_CPU
from load_tests.memory import PeakSampler
from load_tests.modules import LoadError as LoadError
from load_tests.modules import run_module as run_module
from load_tests.percentiles import summary
from load_tests.server import Server


@dataclass(frozen=True)
class Plan:
    """How long to look. `settle_s` before each phase warms up and is not counted.

    single_s: one user, closed loop: latency without waiting in a queue
    saturated_s, users: more users than the server has threads: throughput
    """

    settle_s: float
    single_s: float
    saturated_s: float
    users: int
    seed: int = 0


QUICK = Plan(settle_s=0.5, single_s=2.0, saturated_s=3.0, users=8)
THOROUGH = Plan(settle_s=2.0, single_s=15.0, saturated_s=20.0, users=16)


def measure(server: Server, task: str, bodies: list[dict[str, Any]], plan: Plan) -> dict[str, Any]:
    """Fields of a report row: latency_ms, throughput_rps, idle and peak PSS, load.

    Raises LoadError when a phase has not a single good answer.
    """
    idle_mb = server.pss_mb()
    with PeakSampler(server.pid) as memory:
        single, saturated = run_load(server.url, task, bodies, plan)
    for phase in (single, saturated):
        if not phase["latencies_ms"]:
            raise LoadError(
                f"No request of {phase['users']} users got a good answer in "
                f"{phase['seconds']:.1f} s; faults: {phase['failures']}.",
                f"The server's last lines:\n{server.log_tail()}",
            )
    return {
        "cold_start_s": server.cold_start_s,
        "idle_pss_mb": idle_mb,
        # Pages shared with the generator halve while it runs: the peak may look lower than idle.
        "peak_pss_mb": max(idle_mb, memory.peak_mb),
        "latency_ms": summary(single["latencies_ms"], seed=plan.seed),
        "throughput_rps": len(saturated["latencies_ms"]) / saturated["seconds"],
        "load": {"single_stream": _record(single), "saturated": _record(saturated)},
    }


def run_load(
    host: str, task: str, bodies: list[dict[str, Any]], plan: Plan
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `load_tests.drive` saw in the single-stream phase and in the saturated phase."""
    request = {
        "host": host,
        "task": task,
        "bodies": bodies,
        "settle_s": plan.settle_s,
        "phases": [
            {"users": 1, "seconds": plan.single_s},
            {"users": plan.users, "seconds": plan.saturated_s},
        ],
    }
    answer = run_module("load_tests.drive", request, timeout_s=total_s(plan) + 60)
    single, saturated = answer["phases"]
    return single, saturated


def total_s(plan: Plan) -> float:
    """Seconds of load for one variant."""
    return 2 * plan.settle_s + plan.single_s + plan.saturated_s


def _record(phase: dict[str, Any]) -> dict[str, Any]:
    """A phase without its raw samples, with what makes it valid or not."""
    requests = len(phase["latencies_ms"])
    failures = sum(phase["failures"].values())
    return {
        "users": phase["users"],
        "seconds": phase["seconds"],
        "requests": requests,
        "shed": phase["shed"],
        "failures": phase["failures"],
        "generator_cpu": phase["generator_cpu"],
        "valid": not failures and phase["generator_cpu"] <= MAX_GENERATOR_CPU,
    }
