"""The peak memory that the kernel itself counted, where a process tree has a control group alone.

In: the ids of a process tree. Out: megabytes, or None where others are in the group: then its peak
is theirs as well. It is more than PSS: pages of files that were read count until they are dropped.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from load_tests.memory import MB

ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc")
# Version 2, and where version 1 has its memory controller.
PEAKS = (("", "memory.peak"), ("memory", "memory.max_usage_in_bytes"))


def peak_mb(pids: Collection[int], root: Path = ROOT, proc: Path = PROC) -> float | None:
    """The group's peak since it was made."""
    for folder in _folders(next(iter(pids)), root, proc):
        for _, name in PEAKS:
            try:
                members = (folder / "cgroup.procs").read_text().split()
                peak = int((folder / name).read_text())
            except (OSError, ValueError):
                continue
            return peak / MB if {int(pid) for pid in members} <= set(pids) else None
    return None


def _folders(pid: int, root: Path, proc: Path) -> list[Path]:
    """Where the kernel keeps the groups of a process that may count memory."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            found.append(root / ("memory" if controllers else "") / path.lstrip("/"))
    return found
