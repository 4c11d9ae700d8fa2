"""The load generator as the one who measures sees it: a child process that runs phase after phase.

    with Generator(server.url, "classify") as generator:
        seen = generator.run(SERVER, bodies, seconds=5.0, rate=200.0, seed=1)

In: a scenario and request bodies. Out: what `load_tests.drive` saw. Locust stays in that process,
because it patches the standard library, and its processor time can be told from ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from load_tests.scenarios import Scenario
from load_tests.worker import Worker

Body = dict[str, Any]


class Generator(Worker):
    """One process for all phases: Locust takes a second to start."""

    def __init__(self, host: str, task: str) -> None:
        super().__init__("load_tests.drive")
        self.target = {"host": host, "task": task}

    def __enter__(self) -> Self:
        super().__enter__()
        self.tell(**self.target)
        return self

    def run(
        self,
        scenario: Scenario,
        bodies: Sequence[Body],
        *,
        seconds: float,
        settle_s: float = 0.0,
        rate: float = 0.0,
        seed: int = 0,
        users: int = 0,
        grace_s: float = 2.0,
    ) -> dict[str, Any]:
        """One phase; raises LoadError with the last lines of the process when it fails.

        rate: of an open loop, requests a second; users: other than the scenario's
        settle_s: what was sent before is not counted; grace_s: how long late answers are waited for
        """
        phase = {
            "scenario": scenario.name,
            "bodies": list(bodies),
            "users": users or scenario.users,
            "seconds": seconds,
            "settle_s": settle_s,
            "rate": rate,
            "seed": seed,
            "grace_s": grace_s,
        }
        return {"scenario": scenario.name, "rate": rate or None, **self.ask(**phase)}
