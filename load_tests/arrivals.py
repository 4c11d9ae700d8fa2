"""When requests are due: seconds from the start, drawn before anything is sent.

    due_times(100.0, 5.0, "poisson", seed=1)    # about 500 of them, the same for the same seed

Used by `load_tests.pacer` (Locust) and `load_tests.open_loop` (a lighter generator for the peers).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import takewhile

CONSTANT, POISSON = "constant", "poisson"
FOREVER_S = float("inf")


def due_times(rate: float, seconds: float, arrivals: str, seed: int) -> list[float]:
    """The times of one rate.

    rate: requests a second
    arrivals: "constant", or "poisson" (independent users; seeded)
    """
    return list(stepped([(rate, seconds)], arrivals, seed))


def stepped(
    stages: Sequence[tuple[float, float]], arrivals: str = POISSON, seed: int = 0
) -> Iterator[float]:
    """The times of (rate, seconds) one after the other; the last may go on for ever."""
    began = 0.0
    for index, (rate, seconds) in enumerate(stages):
        gaps = _gaps(rate, arrivals, f"{seed}/{index}")
        yield from (began + t for t in takewhile(lambda t, end=seconds: t < end, gaps))
        began += seconds


def _gaps(rate: float, arrivals: str, seed: str) -> Iterator[float]:
    """The times of one rate, without an end."""
    if arrivals not in (CONSTANT, POISSON):
        raise ValueError(f"arrivals is {arrivals!r}; expected {CONSTANT} or {POISSON}")
    source, count, time = random.Random(seed), 0, 0.0
    while True:
        if arrivals == CONSTANT:
            yield count / rate
            count += 1
        else:
            time += source.expovariate(rate)
            yield time
