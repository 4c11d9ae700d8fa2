"""What threads beside each other get done in a second, each going through all batches in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import TypeVar

T = TypeVar("T")


def rate(work: Callable[[T], int], batches: Sequence[T], threads: int, seconds: float) -> float:
    """Items a second, of which `work` tells how many it did; every thread begins elsewhere."""
    deadline = 0.0

    def run(first: int) -> int:
        done = 0
        for taken in islice(cycle(batches), first, None):
            done += work(taken)
            if time.perf_counter() >= deadline:
                break
        return done

    firsts = [turn * len(batches) // threads for turn in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, firsts))  # warm up: the deadline has passed
        started = time.perf_counter()
        deadline = started + seconds
        done = sum(pool.map(run, firsts))
    return done / (time.perf_counter() - started)
