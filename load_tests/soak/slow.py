"""Clients that never finish what they began, hundreds of them: healthy ones are answered.

In: a server. Out: the share of healthy requests that is answered while slow connections drip a byte
a second into their headers and bodies, and whether they leave anything behind.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from load_tests.arrivals import POISSON
from load_tests.bodies import items
from load_tests.open_loop import drive
from load_tests.server import serving
from load_tests.soak.plan import Plan, Row, Say, figure
from load_tests.soak.wire import address_of, slow_connections, wait_until_idle

LEAST = 0.995
RATE = 50.0
CONNECTIONS = 16


@contextmanager
def dripping(connections: Sequence[socket.socket]) -> Iterator[None]:
    """A byte into each of them every second; those that the server has closed stay closed."""
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(1.0):
            for made in connections:
                with contextlib.suppress(OSError):
                    made.send(b" ")

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def measure(plan: Plan, say: Say) -> Row:
    """The part of the soak."""
    with serving(plan.variants or ("intent",), env=plan.env) as server:
        with slow_connections(server.url, plan.slow) as held, dripping(held):
            seen = healthy(server.url, plan.slow_s, plan.seed)
        left = wait_until_idle(server.url)
    share, idle = seen["achieved"], bool(left) and not any(left.values())
    return {
        "figures": [
            figure("slow connections", 2 * plan.slow),
            figure("healthy requests", seen["due"]),
            figure("of them answered", share, target=">= 0.995", reached=share >= LEAST),
            figure("p99 of a healthy request", seen["latency_ms"].get("p99", 0.0), "ms"),
            figure("in flight or queued after", sum(left.values()), target="0", reached=idle),
        ],
        "failures": seen["failures"],
    }


def healthy(url: str, seconds: float, seed: int) -> dict[str, Any]:
    """An open loop of honest requests."""
    host, port = address_of(url)
    plan = {"host": host, "port": port, "path": "/classify", "bodies": items("classify", "intent")}
    how = {"rate": RATE, "connections": CONNECTIONS, "arrivals": POISSON, "seed": seed}
    return drive({**plan, **how, "seconds": seconds})
