"""Memory of a process tree, as PSS: shared pages are counted once, split among those who share.

In: a process id. Out: megabytes (10^6 bytes). Run by `transfer bench`.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

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


def tree_pss_mb(pid: int) -> float:
    """PSS of a process and all its descendants; those that end meanwhile count as nothing."""
    try:
        root = psutil.Process(pid)
        pids = [pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_or_zero(each) for each in pids) / MB


def _or_zero(pid: int) -> int:
    try:
        return pss_bytes(pid)
    except psutil.NoSuchProcess:
        return 0


class PeakSampler:
    """Watches a process tree while a `with` block runs; `peak_mb` is the most that it saw."""

    def __init__(self, pid: int, every_s: float = 0.2) -> None:
        self.pid = pid
        self.every_s = every_s
        self.peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, tree_pss_mb(self.pid))
            if self._stop.wait(self.every_s):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
