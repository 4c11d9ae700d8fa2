"""The load generator as the one who measures sees it: a child process that runs phase after phase.

    with Generator(server.url, "classify") as generator:
        seen = generator.run(SERVER, bodies, seconds=5.0, rate=200.0, seed=1)

In: a scenario and request bodies. Out: what `load_tests.drive` saw. Locust stays in that process,
because it patches the standard library, and its processor time can be told from ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from load_tests.modules import LoadError
from load_tests.scenarios import Scenario
from load_tests.server import ROOT

Body = dict[str, Any]

MODULE = "load_tests.drive"


class Generator:
    """One process for all phases: Locust takes a second to start."""

    def __init__(self, host: str, task: str) -> None:
        self.target = {"host": host, "task": task}

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
        )
        self._write(self.target)
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
        self._write(phase)
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise LoadError(
                f"The load generator ended with exit code {self._process.wait()}:\n{self._tail()}",
                "Install the `load` extra if a package is missing.",
            )
        return {"scenario": scenario.name, "rate": rate or None, **json.loads(answer)}

    def _write(self, value: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(value) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # `run` finds out why
            return

    def _tail(self) -> str:
        self._errors.seek(0)
        return "\n".join(self._errors.read().splitlines()[-20:])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()
