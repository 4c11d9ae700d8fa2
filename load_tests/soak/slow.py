"""Clients that never finish what they began, hundreds of them: healthy ones are answered.

In: a server. Out: the share of healthy requests that is answered while slow connections drip a byte
a second into their headers and bodies, and whether they leave anything behind. The server ends each
of them after a while (TRANSFER_BODY_TIMEOUT_S); then another one takes its place.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from load_tests.arrivals import POISSON
from load_tests.bodies import items
from load_tests.open_loop import drive
from load_tests.server import serving
from load_tests.soak.plan import Plan, Row, Say, figure
from load_tests.soak.wire import address_of, drip, slow_connections, wait_until_idle

LEAST = 0.995
RATE = 50.0
CONNECTIONS = 16
EVERY_S = 1.0


@contextmanager
def dripping(url: str, held: list[socket.socket]) -> Iterator[list[int]]:
    """Drip every second; yields how many connections were begun again, each time."""
    again: list[int] = []
    ended = threading.Event()

    def keep_on() -> None:
        while not ended.wait(EVERY_S):
            again.append(drip(url, held))

    thread = threading.Thread(target=keep_on, daemon=True)
    thread.start()
    try:
        yield again
    finally:
        ended.set()
        thread.join()


def measure(plan: Plan, say: Say) -> Row:
    """The part of the soak."""
    with serving(plan.variants or ("intent",), env=plan.env) as server:
        with slow_connections(server.url, plan.slow) as held, dripping(server.url, held) as again:
            seen = healthy(server.url, plan.slow_s, plan.seed)
        left = wait_until_idle(server.url)
    share, idle = seen["achieved"], bool(left) and not any(left.values())
    return {
        "figures": [
            figure("slow connections at a time", 2 * plan.slow),
            figure("others in place of those that were ended", sum(again)),
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
