"""Exact percentiles of raw samples, with bootstrap intervals.

In: every latency of a run. Out: p50, p95, p99 and a 95 % interval for each. Locust's own
percentiles are rounded to about two digits, so they are not used. Run by `transfer bench`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

QUANTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
RESAMPLES = 300
CHUNK = 2_000_000  # resampled values held at once: 16 MB


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 by linear interpolation; raises ValueError without samples."""
    if not len(samples):
        raise ValueError("no samples: percentiles need at least one")
    values = np.percentile(np.asarray(samples, np.float64), list(QUANTILES.values()))
    return {name: float(value) for name, value in zip(QUANTILES, values, strict=True)}


def bootstrap(
    samples: Sequence[float], *, seed: int, level: float = 0.95, resamples: int = RESAMPLES
) -> dict[str, list[float]]:
    """Percentile bootstrap interval [low, high] of p50, p95 and p99 (Efron 1979).

    Samples of one run follow each other and are not quite independent: the interval says how
    much these samples could mislead, not how much another day would differ.
    """
    values = np.asarray(samples, np.float64)
    rng = np.random.default_rng(seed)
    rows = max(1, CHUNK // len(values))
    drawn = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        picks = rng.integers(0, len(values), (count, len(values)))
        drawn.append(np.percentile(values[picks], list(QUANTILES.values()), axis=1))
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(np.concatenate(drawn, axis=1), [tail, 100 - tail], axis=1)
    return {name: [float(low[i]), float(high[i])] for i, name in enumerate(QUANTILES)}


def summary(samples: Sequence[float], *, seed: int) -> dict[str, Any]:
    """`latency_ms` of the report: p50, p95, p99, ci and n."""
    return {**percentiles(samples), "ci": bootstrap(samples, seed=seed), "n": len(samples)}
