"""One user class for each task; every user sends the examples of the API, one after the other.

    locust -f load_tests/locustfile.py --host http://127.0.0.1:3000
    locust -f load_tests/locustfile.py --host http://127.0.0.1:3000 --headless -u 16 -t 1m QaUser
    locust -f load_tests/locustfile.py --master        # and on other machines:
    locust -f load_tests/locustfile.py --worker --master-host HOST

Users do not pause (closed loop). 429 is load that the server refused on purpose: it is counted
under its own name, not as a failure, and the user waits as long as the server asks.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any, ClassVar

import gevent
from locust import constant, task
from locust.contrib.fasthttp import FastHttpUser

# `locust -f` puts only this file's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from load_tests.bodies import ROUTES, examples

SHED = " (429, shed)"
MAX_BACKOFF_S = 5.0


class TaskUser(FastHttpUser):
    """Sends `bodies` to the route of its task, starting elsewhere than the user before."""

    abstract = True
    wait_time = constant(0)
    network_timeout = 30.0
    connection_timeout = 5.0
    task_name: ClassVar[str] = ""
    bodies: ClassVar[list[dict[str, Any]]] = []
    _started: ClassVar[itertools.count[int]] = itertools.count()

    def on_start(self) -> None:
        bodies = self.bodies or examples(self.task_name)
        first = next(self._started) % len(bodies)
        self._next = itertools.cycle(bodies[first:] + bodies[:first])

    @task
    def ask(self) -> None:
        route, body = ROUTES[self.task_name], next(self._next)
        wait_s = 0.0
        with self.client.post(route, json=body, catch_response=True) as response:
            if response.status_code == 429:
                response.request_meta["name"] = route + SHED
                response.success()
                wait_s = _retry_after_s(response)
            elif fault := fault_of(response, expected_results(self.task_name, body)):
                response.failure(fault)
        if wait_s:
            gevent.sleep(wait_s)


class ClassifyUser(TaskUser):
    task_name = "classify"


class QaUser(TaskUser):
    task_name = "qa"


class SummarizeUser(TaskUser):
    task_name = "summarize"


USERS: dict[str, type[TaskUser]] = {
    user.task_name: user for user in (ClassifyUser, QaUser, SummarizeUser)
}


def expected_results(task_name: str, body: dict[str, Any]) -> int:
    """How many results a body asks for: one a text, or one a question."""
    value = body["question" if task_name == "qa" else "text"]
    return 1 if isinstance(value, str) else len(value)


def fault_of(response: Any, expected: int) -> str:
    """What is wrong with an answer, in one line; empty when nothing is."""
    if response.status_code == 0:
        return f"no answer: {response.error}"
    if response.status_code != 200:
        return f"status {response.status_code}: {(response.text or '')[:200]}"
    try:
        results = response.json()["results"]
    except (ValueError, KeyError, TypeError):
        return f"no results in {(response.text or '')[:200]!r}"
    if not isinstance(results, list) or len(results) != expected:
        return f"expected a list of {expected} results, got {results!r:.200}"
    faults = [result["error"] for result in results if "error" in result]
    return f"a result is an error: {faults[0]!r:.200}" if faults else ""


def _retry_after_s(response: Any) -> float:
    try:
        wait_s = float(response.headers.get("Retry-After", 1))
    except ValueError:  # an HTTP date; our server sends seconds
        wait_s = 1.0
    return min(max(wait_s, 0.0), MAX_BACKOFF_S)
