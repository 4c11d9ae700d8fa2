"""A variant without HTTP: its answers, and its throughput in this process.

In: a loaded runtime and request bodies of one text each. Out: results; items per second.
Run by `transfer bench`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from services.items import items_of
from services.runtime import Runtime
from services.schemas import TASKS, convert_request
from services.work import work

Body = dict[str, Any]
THREADS = 2


def answer(runtime: Runtime, body: Body) -> Body:
    """The result that the server gives for one body; raises what it would refuse it with."""
    request = convert_request(body, TASKS[runtime.manifest.task])
    (item,), _ = items_of(request, runtime)
    done = work(item, runtime)
    if done.error or done.result is None:
        raise done.error or AssertionError(f"{runtime.key} gave neither result nor error")
    return done.result


def throughput(
    runtime: Runtime, bodies: Sequence[Body], seconds: float, threads: int = THREADS
) -> float:
    """Items per second of `threads` threads that take one item per call, as the server does."""
    for body in bodies:
        answer(runtime, body)

    def serve(first: int) -> int:
        done = 0
        for body in itertools.islice(itertools.cycle(bodies), first, None):
            answer(runtime, body)
            done += 1
            if time.perf_counter() >= deadline:
                break
        return done

    started = time.perf_counter()
    deadline = started + seconds
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(serve, range(threads)))
    return done / (time.perf_counter() - started)
