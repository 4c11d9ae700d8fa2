"""Locust as the load of a scene: users of every task, through the proxy, with the key.

    with LocustLoad(port, key, tasks, rate=40.0, folder=folder) as load:
        ...                                 # a canary
    load.seen                               # as `load.Load`'s, with what Locust calls shed

It is `load_tests/locustfile.py` as anybody runs it, headless, told to stop by SIGTERM; it then
waits for the answers that it has not got yet.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from load_tests.percentiles import percentiles
from load_tests.rehearsal.load import CONNECTIONS, SHARES
from load_tests.server import ROOT, ServerError, tail

FILE = "load_tests/locustfile.py"
USERS = {"classify": "ClassifyUser", "qa": "QaUser", "summarize": "SummarizeUser"}
ANSWERED_S = 30  # of the users, to get their last answers
STOPPED_S = 60.0


class LocustLoad:
    """A process that asks while the block runs; `seen` says what came back."""

    def __init__(
        self, port: int, key: str, tasks: Collection[str], rate: float, folder: Path, seed: int = 0
    ) -> None:
        """tasks: those that are served, in the shares of `load.SHARES`; folder: for its files"""
        self.key, self.seen = key, dict[str, Any]()
        self._record, self._log = folder / "locust.json", folder / "locust.txt"
        self._command = [
            *(sys.executable, "-m", "locust", "-f", FILE, "--headless", "--only-summary"),
            *("--host", f"http://127.0.0.1:{port}", "--scenario", "server", "--mix", "mixed"),
            *("--rate", f"{rate:g}", "--seed", str(seed), "--record", str(self._record)),
            *("-u", str(CONNECTIONS), "-r", str(CONNECTIONS), "--stop-timeout", str(ANSWERED_S)),
            *("--config-users", *(_weighted(task) for task in tasks), "--loglevel", "WARNING"),
            *(USERS[task] for task in tasks),
        ]

    def __enter__(self) -> Self:
        env = {**os.environ, "TRANSFER_API_KEY": self.key}
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=env, stdout=output, stderr=output
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOPPED_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if kind is None:
            self.seen = self._seen()

    def _seen(self) -> dict[str, Any]:
        if not self._record.is_file():
            raise ServerError(f"Locust left no record:\n{tail(self._log)}", "See its words above.")
        return summed(json.loads(self._record.read_text(encoding="utf-8")))


def _weighted(task: str) -> str:
    return json.dumps({"user_class_name": USERS[task], "weight": SHARES[task]})


def summed(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a run of Locust in the words of a scene; what was refused is lost too."""
    latencies = record["latencies_ms"]
    lost = record["shed"] + sum(record["failures"].values())
    return {
        "load": f"locust {version('locust')}",
        "sent": len(latencies) + lost,
        "answered": len(latencies),
        "lost": lost,
        "shed": record["shed"],
        "failures": record["failures"],
        "achieved": record["achieved"],
        "invalid": record["invalid"],
        "latency_ms": percentiles(latencies) if latencies else {},
    }
