"""Every request of a Locust process: its latency, whether it was shed or failed, where time went.

In: Locust's request events. Out: a JSON-ready record (`take`), which can be added to that of other
processes (`add`): that is how a master gets the raw latencies of its workers.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

SHED = " (429, shed)"
NO_ANSWER = "no answer when the run ended"
STAGES = ("queue", "tokenize", "infer", "decode", "total")

_TIMING = re.compile(r"(\w+);dur=([\d.]+)")


class Recorder:
    """Requests that were due, or sent, since `since` (perf_counter)."""

    def __init__(self) -> None:
        self.since = 0.0
        self.generator_cpu = 0.0
        self.released = self.late = 0
        self._clear()

    def _clear(self) -> None:
        self.latencies_ms: list[float] = []
        self.items = self.shed = 0
        self.failures: Counter[str] = Counter()
        self._stages_ms: Counter[str] = Counter()
        self._timed = 0

    def request(
        self,
        name: str,
        response_time: float,
        exception: BaseException | None,
        response: Any = None,
        context: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """A listener of Locust's `request` event."""
        context = context or {}
        if context.get("since", time.perf_counter()) < self.since:
            return
        if exception is not None:
            self.failures[str(exception)[:300]] += 1
        elif name.endswith(SHED):
            self.shed += 1
        else:
            self.latencies_ms.append(response_time)
            self.items += context.get("texts", 1)
            self._time(response)

    def user_error(self, exception: BaseException, **_: Any) -> None:
        """A listener of Locust's `user_error` event."""
        self.failures[repr(exception)[:300]] += 1

    def lost(self, count: int) -> None:
        """Requests that were due and have no answer at the end."""
        if count:
            self.failures[NO_ANSWER] += count

    def _time(self, response: Any) -> None:
        timing = response.headers.get("Server-Timing") if response is not None else None
        if timing:
            self._timed += 1
            for stage, milliseconds in _TIMING.findall(timing):
                self._stages_ms[stage] += float(milliseconds)

    @property
    def ended(self) -> int:
        return len(self.latencies_ms) + self.shed + sum(self.failures.values())

    def take(self) -> dict[str, Any]:
        """What was seen since the last call; it is counted from anew."""
        seen = {
            "latencies_ms": self.latencies_ms,
            "items": self.items,
            "shed": self.shed,
            "failures": dict(self.failures),
            "timed": self._timed,
            "stages_ms": dict(self._stages_ms),
            "generator_cpu": self.generator_cpu,
            "released": self.released,
            "late": self.late,
        }
        self._clear()
        self.released = self.late = 0
        return seen

    def add(self, seen: dict[str, Any]) -> None:
        """What another process took; of the processor time the largest share counts."""
        self.latencies_ms += seen["latencies_ms"]
        self.items += seen["items"]
        self.shed += seen["shed"]
        self.failures.update(seen["failures"])
        self._timed += seen["timed"]
        self._stages_ms.update(seen["stages_ms"])
        self.generator_cpu = max(self.generator_cpu, seen["generator_cpu"])
        self.released += seen["released"]
        self.late += seen["late"]


def mean_stages_ms(seen: dict[str, Any]) -> dict[str, float]:
    """Mean of each stage of `Server-Timing`; empty where the server tells none."""
    if not seen["timed"]:
        return {}
    return {name: total / seen["timed"] for name, total in seen["stages_ms"].items()}


def achieved(seen: dict[str, Any]) -> float | None:
    """Share of the requests that an open loop released in time; None for a closed one."""
    return 1.0 - seen["late"] / seen["released"] if seen["released"] else None
