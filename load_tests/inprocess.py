"""A variant without HTTP, in a process of its own: the scenario `offline`, and its answers.

In: JSON on stdin {folder, bodies, samples, seconds, threads}. Out: JSON on stdout {throughput_rps,
items, seconds, energy, answers}: texts a second of `threads` threads that take one text a call, as
the server does, and the results for `samples`. Started by `load_tests.offline`; by hand:

    python -m load_tests.inprocess < request.json
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from load_tests.offline import THREADS
from services.errors import TransferError
from services.items import items_of
from services.runtime import Runtime
from services.schemas import TASKS, convert_request
from services.work import work
from training.energy import EnergyMeter

Body = dict[str, Any]
WARM_UP = 32  # texts


def answer(runtime: Runtime, body: Body) -> Body:
    """The result that the server gives for one body; raises what it would refuse it with."""
    request = convert_request(body, TASKS[runtime.manifest.task])
    (item,), _ = items_of(request, runtime)
    done = work(item, runtime)
    if done.error or done.result is None:
        raise done.error or AssertionError(f"{runtime.key} gave neither result nor error")
    return done.result


def answer_or_fault(runtime: Runtime, body: Body) -> Body:
    """As in a list of texts: a fault is the item's own."""
    try:
        return answer(runtime, body)
    except TransferError as error:
        return {"error": {"code": error.code, "message": error.message}}


def throughput(
    runtime: Runtime, bodies: Sequence[Body], seconds: float, threads: int = THREADS
) -> tuple[int, float]:
    """(items, seconds) of `threads` threads that take the bodies in turn."""
    source = itertools.cycle(bodies)  # one C call a step: safe to share

    def serve(_: int) -> int:
        done = 0
        for body in source:
            answer(runtime, body)
            done += 1
            if time.perf_counter() >= deadline:
                break
        return done

    started = time.perf_counter()
    deadline = started + seconds
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(serve, range(threads)))
    return done, time.perf_counter() - started


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """What this process does with one request."""
    runtime = Runtime.load(Path(request["folder"]))
    answers = [answer_or_fault(runtime, body) for body in request["samples"]]
    for body in request["bodies"][:WARM_UP]:
        answer(runtime, body)
    with EnergyMeter() as meter:  # around what is counted, and nothing else
        items, seconds = throughput(
            runtime, request["bodies"], request["seconds"], request["threads"]
        )
    return {
        "throughput_rps": items / seconds,
        "items": items,
        "seconds": seconds,
        "threads": request["threads"],
        "energy": meter.record,
        "answers": answers,
    }


def main() -> None:
    json.dump(measure(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
