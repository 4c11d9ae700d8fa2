"""Processor time of a process tree, and of the programs that this process ran, over a block.

In: a process id. Out: seconds of user and system time. Used by `load_tests.wrk`.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

import psutil


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


class CpuClock:
    """While a `with` block runs: tree_s of the tree of `pid`, children_s of programs that ended."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.tree_s = self.children_s = 0.0

    def __enter__(self) -> Self:
        self._tree, self._children = tree_cpu_s(self.pid), children_cpu_s()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.tree_s = tree_cpu_s(self.pid) - self._tree
        self.children_s = children_cpu_s() - self._children
