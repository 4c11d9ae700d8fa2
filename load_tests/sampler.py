"""The memory of a process tree over time, watched by a process of its own.

    with Sampler(server.pid) as sampler: ...
    sampler.peak_mb, sampler.p95_mb, sampler.samples

In: a process id and an interval, as arguments. Out: a line of JSON for each sample on stdout: {t
(time.monotonic), pss_mb, fds, threads, gpu_mb?, cgroup_mb?}, until stdin ends. It imports nothing
that a server imports: pages that both map would count as half. By hand:

    python -m load_tests.sampler PID 0.2
"""

from __future__ import annotations

import json
import math
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from load_tests.memory import tree_handles, tree_pids, tree_pss_mb
from load_tests.server import ROOT

EVERY_S = 0.2
MODULE = "load_tests.sampler"


@dataclass(frozen=True)
class Sample:
    """t: seconds of time.monotonic; fds, threads: of the whole tree

    gpu_mb, cgroup_mb: None where there is none
    """

    t: float
    pss_mb: float
    fds: int = 0
    threads: int = 0
    gpu_mb: float | None = None
    cgroup_mb: float | None = None


class Sampler:
    """Watches while a `with` block runs; what it saw is there after it."""

    def __init__(self, pid: int, every_s: float = EVERY_S) -> None:
        self.pid = pid
        self.every_s = every_s
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(self.pid), str(self.every_s)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            cwd=ROOT,
        )
        self._wait_first()
        return self

    def _wait_first(self, timeout_s: float = 10.0) -> None:
        """What happens before the first sample would not be seen."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until and self._process.poll() is None:
            if self._output.seek(0, 2):
                return
            time.sleep(0.01)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()  # ends its stdin; it takes a last sample
        self._output.seek(0)
        self.samples = [Sample(**json.loads(line)) for line in self._output]
        self._output.close()

    @property
    def peak_mb(self) -> float:
        return max((sample.pss_mb for sample in self.samples), default=0.0)

    @property
    def p95_mb(self) -> float:
        """The sample that 95 % of them do not pass: what is needed nearly always."""
        ordered = sorted(sample.pss_mb for sample in self.samples)
        return ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else 0.0

    @property
    def gpu_peak_mb(self) -> float | None:
        return max((s.gpu_mb for s in self.samples if s.gpu_mb is not None), default=None)

    @property
    def cgroup_peak_mb(self) -> float | None:
        return max((s.cgroup_mb for s in self.samples if s.cgroup_mb is not None), default=None)


def watch(pid: int, every_s: float) -> None:
    """Print samples until stdin ends."""
    from load_tests.cgroup import peak_mb
    from load_tests.nvml import nvml, used_mb

    library = nvml()
    ended = False
    while True:
        pids = tree_pids(pid)
        sample: dict[str, float | None] = {"t": time.monotonic(), "pss_mb": tree_pss_mb(pid)}
        sample["fds"], sample["threads"] = tree_handles(pids)
        if library:
            sample["gpu_mb"] = used_mb(library, pids)
        if pids and (peak := peak_mb(pids)) is not None:
            sample["cgroup_mb"] = peak
        print(json.dumps(sample), flush=True)
        if ended:
            return
        ended = bool(select.select([sys.stdin], [], [], every_s)[0])


if __name__ == "__main__":
    watch(int(sys.argv[1]), float(sys.argv[2]))
