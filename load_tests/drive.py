"""Locust users against one URL in a process of its own, every latency kept.

In: JSON on stdin, a line each: first {host, task}, then one phase after the other: {scenario,
bodies, users, seconds, settle_s, rate, seed, grace_s}. Out: a line of JSON for each phase:
`load_tests.recorder`'s record with `seconds`, `achieved` and `unanswered`. A process of its own,
because Locust patches the standard library for gevent when it is imported. Started by
`load_tests.generator`; by hand:

    python -m load_tests.drive < phases.jsonl
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

import gevent
from locust.env import Environment

from load_tests.arrivals import POISSON, due_times
from load_tests.pacer import ClosedLoop, OpenLoop
from load_tests.recorder import Recorder, achieved
from load_tests.scenarios import HTTP_SCENARIOS, OPEN
from load_tests.users import USERS

Phase = dict[str, Any]

POLL_S = 0.01


class Driver:
    """Users of one task; each phase starts them, lets them work, and stops them."""

    def __init__(self, host: str, task: str) -> None:
        self.user = USERS[task]
        self.recorder = Recorder()
        environment = Environment(user_classes=[self.user], host=host)
        environment.events.request.add_listener(self.recorder.request)
        environment.events.user_error.add_listener(self.recorder.user_error)
        self.runner = environment.create_local_runner()

    def run(self, phase: Phase) -> dict[str, Any]:
        """Requests sent or due in the first `settle_s` seconds are not counted."""
        self.user.send(phase["bodies"])
        is_open = HTTP_SCENARIOS[phase["scenario"]].loop == OPEN
        self.user.pacing = OpenLoop() if is_open else ClosedLoop()
        self.recorder.take()
        self.recorder.since = float("inf")
        self.runner.start(phase["users"], spawn_rate=phase["users"])
        while self.runner.user_count < phase["users"]:
            gevent.sleep(POLL_S)
        seen = self._open(phase) if is_open else self._closed(phase)
        self.runner.stop()
        return seen

    def _closed(self, phase: Phase) -> dict[str, Any]:
        """What is on its way at the end is left out: it is one request a user."""
        gevent.sleep(phase["settle_s"])
        self.recorder.since = began = time.perf_counter()
        cpu_s = time.process_time()
        gevent.sleep(phase["seconds"])
        self.recorder.since = float("inf")
        return self._seen(began, cpu_s, unanswered=0)

    def _open(self, phase: Phase) -> dict[str, Any]:
        """What was due is waited for, `grace_s` seconds at most."""
        settle_s, seconds = phase["settle_s"], phase["seconds"]
        due = due_times(phase["rate"], settle_s + seconds, POISSON, phase["seed"])
        counted = sum(time >= settle_s for time in due)
        pacing = self.user.pacing
        assert isinstance(pacing, OpenLoop)
        pacing.start(due)
        self.recorder.since = began = pacing.began + settle_s
        gevent.sleep(max(0.0, began - time.perf_counter()))
        cpu_s, cpu_began = time.process_time(), time.perf_counter()
        gevent.sleep(max(0.0, began + seconds - time.perf_counter()))
        cpu_share = (time.process_time() - cpu_s) / (time.perf_counter() - cpu_began)
        until = time.perf_counter() + phase["grace_s"]
        while self.recorder.ended < counted and time.perf_counter() < until:
            gevent.sleep(POLL_S)
        pacing.stop()
        self.recorder.released, self.recorder.late = pacing.released, pacing.late
        seen = self._seen(began, cpu_s, unanswered=counted - self.recorder.ended)
        return {**seen, "seconds": seconds, "generator_cpu": cpu_share}

    def _seen(self, began: float, cpu_s: float, unanswered: int) -> dict[str, Any]:
        took = time.perf_counter() - began
        self.recorder.generator_cpu = (time.process_time() - cpu_s) / took
        seen = self.recorder.take()
        if unanswered > 0:
            seen["failures"] = {**seen["failures"], "no answer in time": unanswered}
        return {**seen, "seconds": took, "achieved": achieved(seen)}


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    target = json.loads(sys.stdin.readline())
    driver = Driver(target["host"], target["task"])
    for line in sys.stdin:
        print(json.dumps(driver.run(json.loads(line))), flush=True)
    driver.runner.quit()


if __name__ == "__main__":
    main()
