"""Clients that leave in the middle, a thousand of them: nothing is left behind.

In: a server. Out: the gauges of /metrics afterwards, and whether a healthy client is answered.
"""

from __future__ import annotations

import random

from load_tests.server import serving
from load_tests.soak.plan import Plan, Row, Say, figure
from load_tests.soak.wire import ask, break_off, wait_until_idle


def measure(plan: Plan, say: Say) -> Row:
    """The part of the soak."""
    with serving(plan.variants or ("intent",), env=plan.env) as server:
        unanswered = break_off(server.url, plan.aborts, random.Random(plan.seed))
        left = wait_until_idle(server.url)
        status = ask(server.url)[0]
    idle = bool(left) and not any(left.values())
    return {
        "figures": [
            figure("requests broken off", plan.aborts),
            figure("of them whole, waiting or running", unanswered),
            figure("in flight or queued after", sum(left.values()), target="0", reached=idle),
            figure("status of a healthy request", status, target="200", reached=status == 200),
        ],
        "gauges": left,
    }
