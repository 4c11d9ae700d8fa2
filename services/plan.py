"""How a runtime is best called on this machine: found by measuring once, then read from a file.

    plans = PlanFile(path)
    plan = plans.find(key) or measure(runtime, cores, open_session)

On a CPU the answer is usually one call per core with a few similar windows in it; on a GPU one
call at a time with many. Which it is depends on the processor, the cores, ONNX Runtime and the
graphs, so these four are the key.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any

from services.gpu import NoDeviceError, find_device
from services.windows import Window

logger = logging.getLogger("transfer")

Call = Callable[[Sequence[Window]], Any]
SHORT, LONG = 12, 128  # tokens of the windows that are timed
CPU_SIZES, GPU_SIZES = (1, 2, 4, 8, 16), (1, 4, 16, 64, 128)
GAIN = 1.03  # a larger call must be at least this much faster
POINT_S = 0.1  # of timing for each candidate
GPU_CALLS = 2  # one computes while the next is being copied


@dataclass(frozen=True, slots=True)
class Plan:
    """calls: graph calls at the same time; threads: cores that each of them uses
    windows, tokens: at most in one call, padding counted: the tokens cap its memory
    padding: tokens by which windows of one call may differ; more costs more than another call
    windows_per_s: of SHORT tokens, when it was measured; 0: it was not
    """

    calls: int
    threads: int = 1
    windows: int = 4
    tokens: int = 512
    padding: int = 4
    windows_per_s: float = 0.0


def checked(plan: Plan) -> Plan:
    """The plan, if graphs can be called by it; raises ValueError for one that stops all work."""
    counts = (plan.calls, plan.threads, plan.windows, plan.tokens)
    if not all(type(count) is int and count >= 1 for count in counts):
        raise ValueError(f"calls, threads, windows and tokens are {counts}; expected 1 or more.")
    if type(plan.padding) is not int or plan.padding < 0:
        raise ValueError(f"padding is {plan.padding!r}; expected 0 or more.")
    if type(plan.windows_per_s) not in (int, float) or not 0 <= plan.windows_per_s < math.inf:
        raise ValueError(f"windows_per_s is {plan.windows_per_s!r}; expected 0 or more.")
    return plan


def unmeasured(cores: int, gpu: bool, alone: bool = False) -> Plan:
    """Sound until there is a measured one.

    alone: one window a call, so that the scores of an int8 graph depend on no other window: the
    gates compare graphs with this plan
    """
    if gpu:
        return Plan(calls=GPU_CALLS, windows=32, tokens=16_384, padding=32)
    return Plan(calls=cores, windows=1) if alone else Plan(calls=cores)


def calls_of(windows: Sequence[Window], plan: Plan) -> list[list[int]]:
    """Indices of windows in the calls that the plan wants, longest first.

    One that weighs twice what the plan was measured with takes the place of two.
    """
    if len(windows) == 1:
        return [[0]]
    calls: list[list[int]] = []
    longest, heaviest = 0, 1.0
    for index in sorted(range(len(windows)), key=lambda i: -len(windows[i])):
        call = calls[-1] if calls else []
        length, weight = len(windows[index]), windows[index].weight
        places = (len(call) + 1) * max(heaviest, weight)
        if (
            not call
            or places > plan.windows
            or longest - length > plan.padding
            or places * longest > plan.tokens
        ):
            call, longest, heaviest = [], length, 1.0
            calls.append(call)
        heaviest = max(heaviest, weight)
        call.append(index)
    return calls


# Measuring


def measure(
    open_call: Callable[[int], Call],
    make: Callable[[int, int], list[Window]],
    cores: int,
    gpu: bool = False,
) -> Plan:
    """Time candidates, about two seconds on a CPU.

    open_call: threads per call -> a function that runs windows through the graph
    make: (how many, tokens of each) -> windows
    """
    calls, sizes = (GPU_CALLS, GPU_SIZES) if gpu else (cores, CPU_SIZES)
    one = open_call(1)
    windows, rates = _best(one, make, SHORT, calls, sizes)
    long, long_rates = _best(one, make, LONG, calls, sizes)
    plan = Plan(
        calls=calls,
        windows=windows,
        tokens=max(long * LONG, windows * SHORT, 2 * LONG),
        padding=_padding(rates, calls),
        windows_per_s=round(rates[windows], 1),
    )
    if gpu or cores == 1:
        return plan
    joint = open_call(cores)
    joint_windows, joint_rates = _best(joint, make, SHORT, 1, sizes)
    joint_long, joint_long_rates = _best(joint, make, LONG, 1, sizes)
    if (
        min(
            joint_rates[joint_windows] / rates[windows],
            joint_long_rates[joint_long] / long_rates[long],
        )
        < GAIN
    ):
        return plan
    return Plan(
        calls=1,
        threads=cores,
        windows=joint_windows,
        tokens=max(joint_long * LONG, joint_windows * SHORT, 2 * LONG),
        padding=_padding(joint_rates, 1),
        windows_per_s=round(joint_rates[joint_windows], 1),
    )


def _best(
    call: Call,
    make: Callable[[int, int], list[Window]],
    length: int,
    calls: int,
    sizes: Sequence[int],
) -> tuple[int, dict[int, float]]:
    """The windows per call from which larger calls gain nothing, and windows/s of each size."""
    rates: dict[int, float] = {}
    best = sizes[0]
    for size in sizes:
        try:
            rates[size] = _rate(call, make(size, length), calls)
        except Exception:  # onnxruntime has no common base class
            if not rates:
                raise
            break  # the device has no memory for so many
        if rates[size] > rates[best] * GAIN:
            best = size
        elif size > 2 * best:
            break
    return best, rates


def _rate(call: Call, windows: list[Window], calls: int) -> float:
    """Windows per second of `calls` threads that each run `windows` again and again."""
    call(windows)

    def repeat(_: int) -> int:
        done = 0
        while perf_counter() < until:
            call(windows)
            done += len(windows)
        return done

    began = perf_counter()
    until = began + POINT_S
    with ThreadPoolExecutor(calls) as pool:
        done = sum(pool.map(repeat, range(calls)))
    return done / (perf_counter() - began)


def _padding(rates: dict[int, float], calls: int) -> int:
    """How many padded tokens cost as much as one more call.

    A call of n windows takes a + n b; the time per window at two sizes gives both.
    """
    small, large = min(rates), max(rates)
    if small == large:
        return 4
    each = {size: calls / rates[size] for size in (small, large)}
    overhead = max((each[small] - each[large]) / (1 / small - 1 / large), 0.0)
    per_token = max(each[large] - overhead / large, 1e-9) / SHORT
    return max(2, min(round(overhead / per_token), 64))


# The file


def device_name(gpu: bool) -> str:
    """The processor that calls run on, as its maker calls it."""
    if gpu:
        try:
            return find_device().name
        except NoDeviceError:
            return "GPU"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def plan_key(digest: str, cores: int, runtime_version: str, gpu: bool, limit_mb: int = 0) -> str:
    """What a plan depends on.

    digest: of the graphs (`services.registry.plan_digest`)
    limit_mb: of the device memory, where there is one
    """
    device = device_name(gpu) + (f", {limit_mb} MB" if gpu and limit_mb else "")
    parts = (device, f"{cores} cores", f"onnxruntime {runtime_version}", digest)
    return " | ".join(parts)


class PlanFile:
    """Measured plans by key; a file that cannot be read or written costs only the measuring."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()

    def find(self, key: str) -> Plan | None:
        """None also for one that nothing could be called by: it is measured again."""
        found = self._read().get(key)
        try:
            return checked(Plan(**found)) if found else None
        except (TypeError, ValueError):  # of another version, or edited
            logger.warning("%s: the plan %s is not one; measured again", self.path, found)
            return None

    def keep(self, key: str, plan: Plan) -> None:
        with self._lock:
            plans = {**self._read(), key: asdict(plan)}
            scratch = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                scratch.write_text(json.dumps(plans, indent=2) + "\n", encoding="utf-8")
                scratch.replace(self.path)
            except OSError as error:
                logger.warning("plans are not kept: %s", error)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found: dict[str, dict[str, Any]] = json.loads(self.path.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        except (OSError, ValueError):
            return {}
