"""Who used the processor over a block: a process tree, the programs this process ran, all others.

In: a process id. Out: seconds of user and system time. What others used spoils a measurement, so it
is told beside it. Used by `load_tests.wrk`.
"""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any, Self

import psutil

MAX_GENERATOR_CPU = 0.7  # of a core: above it the generator may be what is slow


def tree_cpu_s(pid: int) -> float:
    """User and system time of a process and its living descendants, since they began."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(own_cpu_s(process) for process in processes)


def own_cpu_s(process: psutil.Process) -> float:
    """User and system time of one process; 0 when it is gone."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def children_cpu_s() -> float:
    """User and system time of the programs that this process has run to their end."""
    times = os.times()
    return times.children_user + times.children_system


def busy_cpu_s() -> float:
    """Time that all cores were not idle since the machine began; what a host took away is in it."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - _guests_s(times)


def _guests_s(times: Any) -> float:
    """What is counted twice: guests are in user and nice as well."""
    return float(getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0))


class CpuClock:
    """What was used while a `with` block ran, in seconds.

    tree_s: by the tree of `pid`; children_s: by programs that this process ran to their end
    others_s: by all other processes of the machine, 0 at least (the clocks are coarse)
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.tree_s = self.children_s = self.others_s = 0.0

    def __enter__(self) -> Self:
        self._before = self._now()
        return self

    def _now(self) -> tuple[float, float, float, float]:
        return tree_cpu_s(self.pid), children_cpu_s(), time.process_time(), busy_cpu_s()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        used = [now - before for now, before in zip(self._now(), self._before, strict=True)]
        self.tree_s, self.children_s, own_s, busy_s = used
        self.others_s = max(0.0, busy_s - self.tree_s - self.children_s - own_s)


def wait_idle(most: float = 0.1, timeout_s: float = 10.0, every_s: float = 0.1) -> bool:
    """Wait until the machine uses at most `most` cores; False when it never does in time.

    A server may go on with what clients that have left had asked for; that would be counted
    against the next one.
    """
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        before = busy_cpu_s()
        time.sleep(every_s)
        if busy_cpu_s() - before <= most * every_s:
            return True
    return False
