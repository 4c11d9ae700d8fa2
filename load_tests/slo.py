"""What a server has promised: the target that a rate of requests must meet.

In: what a phase saw. Out: whether it meets the target, and if not, why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from load_tests.percentiles import percentiles


@dataclass(frozen=True)
class Slo:
    """p99_ms: of all good answers, from when they were due; None promises none

    max_shed: share of the requests that may be refused with 429; a server that refuses most of them
    answers the rest in no time
    max_failures: share that may fail otherwise, or stay without an answer
    """

    p99_ms: float | None
    max_shed: float = 0.01
    max_failures: float = 0.0

    def faults(self, phase: Mapping[str, Any]) -> list[str]:
        """Which promises were not kept; empty when all were.

        phase: latencies_ms, shed, failures (fault -> how often), as `load_tests.recorder` has them
        """
        latencies, shed = phase["latencies_ms"], phase["shed"]
        failed = sum(phase["failures"].values())
        every = len(latencies) + shed + failed
        promised_ms = self.p99_ms
        if not latencies and (promised_ms is not None or not every):
            return ["no good answer"]
        found = []
        if promised_ms is not None and (p99 := percentiles(latencies)["p99"]) > promised_ms:
            found.append(f"p99 is {p99:.1f} ms; promised are {promised_ms:g}")
        if shed > self.max_shed * every:
            found.append(f"{shed} of {every} requests were shed")
        if failed > self.max_failures * every:
            found.append(f"{failed} of {every} requests failed")
        return found
