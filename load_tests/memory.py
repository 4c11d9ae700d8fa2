"""Memory of a process tree, as PSS: shared pages are counted once, split among those who share.

In: a process id. Out: megabytes (10^6 bytes), and how many files and threads it has. Run by
`transfer bench`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psutil

MB = 1e6
OWN_ROLLUP = Path("/proc/self/smaps_rollup")


def pss_bytes(pid: int) -> int:
    """Proportional set size of one process; elsewhere than on Linux what psutil has nearest to it.

    Raises psutil.NoSuchProcess when it is gone.
    """
    if OWN_ROLLUP.exists():
        try:
            return _pss_line(Path(f"/proc/{pid}/smaps_rollup").read_text())
        except (FileNotFoundError, ProcessLookupError) as error:
            raise psutil.NoSuchProcess(pid) from error
    info = psutil.Process(pid).memory_full_info()
    return int(getattr(info, "uss", info.rss))


def _pss_line(text: str) -> int:
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0  # a process that is being torn down has no memory map left


def tree_pids(pid: int) -> list[int]:
    """A process and all its descendants; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return [pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def tree_pss_mb(pid: int) -> float:
    """PSS of a process and all its descendants; those that end meanwhile count as nothing."""
    return sum(_or_zero(each) for each in tree_pids(pid)) / MB


def _or_zero(pid: int) -> int:
    try:
        return pss_bytes(pid)
    except psutil.NoSuchProcess:
        return 0


def tree_handles(pids: Sequence[int]) -> tuple[int, int]:
    """Open file descriptors (0 where the system does not tell) and threads of all processes."""
    fds = threads = 0
    for pid in pids:
        try:
            process = psutil.Process(pid)
            fds += process.num_fds() if psutil.POSIX else 0
            threads += process.num_threads()
        except psutil.Error:
            continue
    return fds, threads
