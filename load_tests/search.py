"""The highest rate that meets a target: found by search, then confirmed.

In: a way to try a rate. Out: the rate, whether a longer run confirmed it, and every try. The rate
is doubled until it fails (or halved until it holds), then the gap is halved on a logarithmic scale
until it is 5 % wide; the confirmation is a new run of other arrivals, and where it fails another
one of a lower rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = 1.05
CONFIRMED_AT = (1.0, 0.95, 0.85, 0.7)  # of the rate that was found, until one holds
LEAST_RATE = 0.5  # requests a second

Phase = dict[str, Any]
Try = Callable[[float, bool], Phase]


@dataclass
class Found:
    """rate: 0 when none holds; limited_by: "server", "generator" (it could not send more, so the
    rate is a lower bound) or "tries"
    """

    rate: float = 0.0
    confirmed: bool = False
    limited_by: str = "tries"
    tries: list[Phase] = field(default_factory=list)

    @property
    def best(self) -> Phase | None:
        """The phase that confirmed the rate."""
        return self.tries[-1] if self.confirmed else None


def highest_rate(attempt: Try, first: float, *, tries: int, again: bool = False) -> Found:
    """Search from the rate `first` with about `tries` tries, then confirm with at most four.

    again: a rate that fails is tried once more; a hiccup of the machine must not decide

    attempt: a rate, and whether it is the confirmation, to a phase with `met` (it meets the target)
    and `valid` (the generator kept up)
    """
    found = Found()
    low, high = 0.0, math.inf
    rate = first
    while len(found.tries) < tries and rate >= LEAST_RATE and high > low * TOLERANCE:
        for _ in range(1 + again):
            phase = attempt(rate, False)
            found.tries.append(phase)
            if phase["met"] and phase["valid"]:
                break
        if phase["met"] and phase["valid"]:
            low = rate
        else:
            high = rate
            found.limited_by = "server" if phase["valid"] else "generator"
        rate = _next(low, high)
    _confirm(attempt, found, low)
    return found


def _next(low: float, high: float) -> float:
    if math.isinf(high):
        return 2 * low
    return math.sqrt(low * high) if low else high / 2


def _confirm(attempt: Try, found: Found, rate: float) -> None:
    for share in CONFIRMED_AT:
        if share * rate < LEAST_RATE:
            return
        phase = attempt(share * rate, True)
        found.tries.append(phase)
        if phase["met"] and phase["valid"]:
            found.rate, found.confirmed = share * rate, True
            return
