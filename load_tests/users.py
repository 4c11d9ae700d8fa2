"""One Locust user class for each task: what it sends, and what counts as a good answer.

429 is load that the server refused on purpose: it is counted under its own name, not as a failure.
In a closed loop the user then waits as long as the server asks.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import gevent
from locust import constant, task
from locust.contrib.fasthttp import FastHttpUser
from locust.exception import StopUser

from load_tests.bodies import ROUTES, examples
from load_tests.pacer import ClosedLoop, OpenLoop, Over
from load_tests.recorder import SHED

MAX_BACKOFF_S = 5.0
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class TaskUser(FastHttpUser):
    """Sends the next of `bodies` to the route of its task when `pacing` says so."""

    abstract = True
    wait_time = constant(0)
    network_timeout = 30.0
    connection_timeout = 5.0
    task_name: ClassVar[str] = ""
    pacing: ClassVar[ClosedLoop | OpenLoop] = ClosedLoop()
    headers: ClassVar[dict[str, str]] = HEADERS
    _requests: ClassVar[itertools.cycle[tuple[bytes, int]] | None] = None

    @classmethod
    def send(cls, bodies: Sequence[dict[str, Any]]) -> None:
        """Send these from now on, in turn over all users: none is in flight twice for long."""
        ready = [
            (json.dumps(body).encode(), expected_results(cls.task_name, body)) for body in bodies
        ]
        cls._requests = itertools.cycle(ready)

    @classmethod
    def use_key(cls, key: str) -> None:
        """Send an API key with every request; none when it is empty."""
        cls.headers = {**HEADERS, "Authorization": f"Bearer {key}"} if key else HEADERS

    @classmethod
    def next_request(cls) -> tuple[bytes, int]:
        if cls._requests is None:
            cls.send(examples(cls.task_name))
        assert cls._requests is not None
        return next(cls._requests)

    @task
    def ask(self) -> None:
        try:
            due = self.pacing.wait()
        except Over:
            raise StopUser from None
        try:
            wait_s = self._post(due)
        except Exception:  # it counts as a user error; a user that is killed has no answer
            self.pacing.answered(due)
            raise
        self.pacing.answered(due)
        if wait_s:
            gevent.sleep(wait_s)

    def _post(self, due: float | None) -> float:
        """Send the next request; returns the seconds for which the server asked to stay away."""
        data, texts = self.next_request()
        route, wait_s = ROUTES[self.task_name], 0.0
        since = time.perf_counter() if due is None else due
        with self.client.post(
            route,
            data=data,
            headers=self.headers,
            catch_response=True,
            context={"since": since, "texts": texts},
        ) as response:
            if due is not None:
                response.request_meta["response_time"] = 1000 * (time.perf_counter() - due)
            if response.status_code == 429:
                response.request_meta["name"] = route + SHED
                response.success()
                wait_s = _retry_after_s(response) if due is None else 0.0
            elif fault := fault_of(response, texts):
                response.failure(fault)
        return wait_s


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
        results = json.loads(response.content)["results"]
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
