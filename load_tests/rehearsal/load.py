"""Requests at random times for as long as something happens, and what became of each.

    with Load(port, key, requests, rate=60.0) as load:
        ...                                 # a rolling update
    load.seen                               # sent, answered, failures, latency

The generator is a process of its own (`load_tests.open_loop`), told to stop by closing its stdin.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from load_tests.arrivals import FOREVER_S, stepped
from load_tests.bodies import zero_shot_labels
from load_tests.mixes import MIXED, bodies_of
from load_tests.open_loop import Generator, http_request
from load_tests.percentiles import percentiles
from load_tests.server import ROOT

# Of a hundred requests; a summary costs ten times what a label does.
SHARES = {"classify": 90, "qa": 6, "summarize": 4}
MOST = 1000
CONNECTIONS = 64
Asked = list[tuple[str, Any]]


def mixed(models: Mapping[str, Sequence[str]], seed: int = 0) -> Asked:
    """(path, body) of every task that is served, in the shares above, in a seeded order.

    models: task -> its models
    """
    chosen: Asked = []
    for task, share in SHARES.items():
        every = [
            body
            for model in models.get(task, ())
            for body in bodies_of(task, model, MIXED, labels=_labels(model), seed=seed)
        ]
        if every:
            random.Random(seed).shuffle(every)
            count = share * MOST // 100
            chosen += [(f"/{task}", every[i % len(every)]) for i in range(count)]
    random.Random(seed).shuffle(chosen)
    return chosen


def _labels(model: str) -> list[str] | None:
    return zero_shot_labels() if model == "zeroshot" else None


def loaded(port: int, key: str) -> list[dict[str, Any]]:
    """The rows of `GET /models` for what a running service has loaded."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/models", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [row for row in json.load(answer)["models"] if row["loaded"]]


def served(port: int, key: str) -> dict[str, list[str]]:
    """Which models a running service has loaded, by task."""
    found: dict[str, list[str]] = {}
    for row in loaded(port, key):
        found.setdefault(row["task"], []).append(row["model"])
    return {task: sorted(set(names)) for task, names in found.items()}


class Load:
    """A process that asks while the block runs; `seen` says what came back."""

    def __init__(self, port: int, key: str, requests: Asked, rate: float, seed: int = 0) -> None:
        self.plan = {"port": port, "key": key, "requests": requests, "rate": rate, "seed": seed}
        self.seen: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "load_tests.rehearsal.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self.plan) + "\n")
        self._process.stdin.flush()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        output, _ = self._process.communicate()
        if kind is None:
            self.seen = json.loads(output)


def until_told(rate: float, seed: int, over: threading.Event) -> Iterator[float]:
    """When requests are due, until `over` is set."""
    for due in stepped([(rate, FOREVER_S)], seed=seed):
        if over.is_set():
            return
        yield due


def main() -> None:
    """A plan as the first line of stdin; the end of stdin is the end of the load."""
    plan = json.loads(sys.stdin.readline())
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    requests = [
        http_request("127.0.0.1", path, body, plan["key"]) for path, body in plan["requests"]
    ]
    generator = Generator("127.0.0.1", plan["port"], CONNECTIONS)
    try:
        generator.run(requests, until_told(plan["rate"], plan["seed"], over))
    finally:
        generator.close()
    answered = len(generator.latencies_ms)
    json.dump(
        {
            "sent": generator.sent,
            "answered": answered,
            "lost": generator.sent - answered,
            "failures": dict(generator.failures),
            "seconds": round(generator.seconds, 1),
            "latency_ms": percentiles(generator.latencies_ms) if answered else {},
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
