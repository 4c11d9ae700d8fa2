"""Whether a process stays as it is: memory, file descriptors and threads over a long run.

In: samples of `load_tests.sampler`. Out: how much each grew after the first fifth, and what is too
much. The beginning is left out: caches fill, and allocators take what they will need.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from load_tests.sampler import Sample

SETTLED = 0.2  # of the time: what came before is not compared
WIDTH = 0.1  # of the time, at both ends of the rest: a single sample is chance
MOST_SHARE, MOST_MB = 0.05, 30.0
MOST_FDS, MOST_THREADS = 10, 2  # connections come and go


@dataclass(frozen=True)
class Drift:
    """From the median of a tenth of the time to that of its last tenth."""

    pss_from_mb: float
    pss_to_mb: float
    fds: float
    threads: float

    @property
    def pss_mb(self) -> float:
        return self.pss_to_mb - self.pss_from_mb

    def faults(self) -> list[str]:
        """What grew too much."""
        allowed = max(MOST_SHARE * self.pss_from_mb, MOST_MB)
        found = []
        if self.pss_mb > allowed:
            found.append(f"PSS grew by {self.pss_mb:.1f} MB; allowed are {allowed:.1f} MB")
        if self.fds > MOST_FDS:
            found.append(f"{self.fds:.0f} file descriptors more; allowed are {MOST_FDS}")
        if self.threads > MOST_THREADS:
            found.append(f"{self.threads:.0f} threads more; allowed are {MOST_THREADS}")
        return found


def drift(samples: Sequence[Sample]) -> Drift:
    """Raises ValueError when the samples are too few to say."""
    if len(samples) < 2:
        raise ValueError(f"{len(samples)} samples; expected at least two")
    began, ended = samples[0].t, samples[-1].t
    width = WIDTH * (ended - began)
    settled = began + SETTLED * (ended - began)
    first = [one for one in samples if settled <= one.t <= settled + width] or [samples[0]]
    last = [one for one in samples if one.t >= ended - width]
    return Drift(
        pss_from_mb=statistics.median(one.pss_mb for one in first),
        pss_to_mb=statistics.median(one.pss_mb for one in last),
        fds=statistics.median(one.fds for one in last) - statistics.median(o.fds for o in first),
        threads=(
            statistics.median(one.threads for one in last)
            - statistics.median(one.threads for one in first)
        ),
    )
