"""Locust users against one URL in a process of their own, every latency kept.

In: a JSON plan on stdin {host, task, bodies, settle_s, phases: [{users, seconds}]}. Out: JSON on
stdout {phases: [{users, seconds, latencies_ms, shed, failures, generator_cpu}]}. A process of its
own, because Locust patches the standard library for gevent when it is imported. Started by
`load_tests.measure`; by hand:

    python -m load_tests.drive < plan.json
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from typing import Any

import gevent
from locust.env import Environment

from load_tests.locustfile import SHED, USERS

Plan = dict[str, Any]


class Recorder:
    """Every request that ended while it was switched on."""

    def __init__(self) -> None:
        self.on = False
        self.clear()

    def clear(self) -> None:
        self.latencies_ms: list[float] = []
        self.shed = 0
        self.failures: Counter[str] = Counter()

    def request(
        self, name: str, response_time: float, exception: BaseException | None, **_: Any
    ) -> None:
        if not self.on:
            return
        if exception is not None:
            self.failures[str(exception)[:300]] += 1
        elif name.endswith(SHED):
            self.shed += 1
        else:
            self.latencies_ms.append(response_time)

    def user_error(self, exception: BaseException, **_: Any) -> None:
        if self.on:
            self.failures[repr(exception)[:300]] += 1

    def record(self, seconds: float) -> dict[str, Any]:
        """Switch on for `seconds`; generator_cpu is the share of one core that Locust used."""
        self.clear()
        started, cpu = time.perf_counter(), time.process_time()
        self.on = True
        gevent.sleep(seconds)
        self.on = False
        took = time.perf_counter() - started
        return {
            "seconds": took,
            "latencies_ms": self.latencies_ms,
            "shed": self.shed,
            "failures": dict(self.failures),
            "generator_cpu": (time.process_time() - cpu) / took,
        }


def drive(plan: Plan) -> dict[str, Any]:
    """Run the phases one after the other without stopping the users in between."""
    user = USERS[plan["task"]]
    user.bodies = plan["bodies"]
    environment = Environment(user_classes=[user], host=plan["host"])
    recorder = Recorder()
    environment.events.request.add_listener(recorder.request)
    environment.events.user_error.add_listener(recorder.user_error)
    runner = environment.create_local_runner()
    try:
        phases = [_phase(runner, recorder, phase, plan["settle_s"]) for phase in plan["phases"]]
    finally:
        runner.quit()
    return {"phases": phases}


def _phase(runner: Any, recorder: Recorder, phase: Plan, settle_s: float) -> dict[str, Any]:
    runner.start(phase["users"], spawn_rate=phase["users"])
    gevent.sleep(settle_s)
    return {"users": phase["users"], **recorder.record(phase["seconds"])}


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    json.dump(drive(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
