"""One variant in a process of its own, so that its device memory is nobody else's.

In: JSON on stdin (`request_of`). Out: JSON on stdout (`observe`). By hand:

    python -m load_tests.gpu.worker < request.json
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from load_tests.gpu.rows import METRICS, score
from load_tests.inprocess import answer
from services.binding import Bound, Plain
from services.gpu import device_memory
from services.plan import GPU_CALLS
from services.providers import CUDA, limit_gpu_memory
from services.runtime import Runtime, sample_windows
from services.settings import usable_cores
from services.windows import Window
from services.writer import Writer

Row = dict[str, Any]
Call = Callable[[Sequence[Window]], Any]

SHORTEST = 8  # tokens of the shortest window among the mixed ones


def observe(request: Row) -> Row:
    """Load the variant, and measure it as the request says.

    folder, provider: what is run where; memory_mb: limit of the device memory (0: none)
    seconds, tokens, windows, mixed: as in `load_tests.gpu.plan.Plan`
    bodies: texts whose answers are given back; rows: labelled ones, which are scored
    """
    limit_gpu_memory(request.get("memory_mb", 0))
    on_cuda = request["provider"] == "cuda"
    before = device_memory()[0] if on_cuda else 0.0
    began = time.perf_counter()
    runtime = Runtime.load(Path(request["folder"]), request["provider"], usable_cores())
    found: Row = {"provider": runtime.provider, "load_s": time.perf_counter() - began}
    loaded = device_memory()[0] if on_cuda else 0.0
    found["answers"] = [answer(runtime, body) for body in request["bodies"]]
    found["quality"] = quality_of(runtime, request["rows"])
    found["points"] = points(runtime, request)
    found["mixed"] = mixed(runtime, request)
    if on_cuda:
        found["device_mb"] = {"loaded": loaded - before, "peak": device_memory()[0] - before}
    return found


def quality_of(runtime: Runtime, rows: Sequence[Row]) -> Row | None:
    """None where no labelled rows were given."""
    if not rows:
        return None
    task = runtime.manifest.task
    results = [answer(runtime, row["body"]) for row in rows]
    return {"metric": METRICS[task], "value": score(task, results, rows), "n": len(rows)}


def points(runtime: Runtime, request: Row) -> list[Row]:
    """Windows per second at every batch size and length that the model can read."""
    in_flight = calls_in_flight(runtime)
    found = []
    for tokens in sorted({min(one, runtime.manifest.max_tokens) for one in request["tokens"]}):
        for size in request["windows"]:
            windows = sample_windows(runtime.task, tokens, size, tokens)
            found.append(
                {
                    "tokens": len(windows[0]),
                    "windows": size,
                    **measured(runtime, windows, in_flight, request["seconds"]),
                }
            )
    return found


def calls_in_flight(runtime: Runtime) -> int:
    """As the service calls it: two at a time on a device, on a CPU one for each core."""
    return GPU_CALLS if runtime.provider == CUDA else usable_cores()


def measured(runtime: Runtime, windows: Sequence[Window], in_flight: int, seconds: float) -> Row:
    """windows_per_s; on CUDA also without binding; what the device has no memory for is a fault."""
    try:
        found = {"windows_per_s": rate(runtime.call, windows, in_flight, seconds)}
        if isinstance(runtime._graphs, Bound):
            plain = partial(runtime._run, Plain(runtime._graphs.session))
            found["unbound_windows_per_s"] = rate(plain, windows, in_flight, seconds)
        return found
    except Exception as error:  # onnxruntime has no common base class
        return {"fault": str(error).strip().splitlines()[0][:200]}


def rate(call: Call, windows: Sequence[Window], in_flight: int, seconds: float) -> float:
    """Windows per second of `in_flight` threads, each giving the same windows again and again."""
    call(windows)

    def repeat(_: int) -> int:
        done = 0
        while not done or time.perf_counter() < until:
            call(windows)
            done += len(windows)
        return done

    began = time.perf_counter()
    until = began + seconds
    with ThreadPoolExecutor(in_flight) as pool:
        done = sum(pool.map(repeat, range(in_flight)))
    return done / (time.perf_counter() - began)


def mixed(runtime: Runtime, request: Row) -> Row | None:
    """Windows of many lengths per second: in batches as they come, and sorted by length."""
    if isinstance(runtime, Writer) or not request["mixed"]:
        return None
    size, rng = max(request["windows"]), random.Random(0)
    most = min(runtime.manifest.max_tokens, max(request["tokens"]))
    lengths = [rng.randint(min(SHORTEST, most), most) for _ in range(request["mixed"])]
    windows = [sample_windows(runtime.task, most, 1, tokens)[0] for tokens in lengths]
    batches = [windows[i : i + size] for i in range(0, len(windows), size)]
    before = runtime.plan
    runtime.plan = replace(before, windows=size, tokens=size * most, padding=most)

    def as_they_come(_: Sequence[Window]) -> None:
        for batch in batches:
            runtime.call(batch)

    found = {
        "windows": size,
        "most_tokens": most,
        "sorted_windows_per_s": rate(runtime.infer, windows, 1, request["seconds"]),
        "unsorted_windows_per_s": rate(as_they_come, windows, 1, request["seconds"]),
    }
    runtime.plan = before
    return found


def main() -> int:
    json.dump(observe(json.load(sys.stdin)), sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
