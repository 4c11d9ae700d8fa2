from __future__ import annotations

import numpy as np
import pytest

from load_tests.percentiles import bootstrap, percentiles, summary


def test_percentiles_are_exact() -> None:
    samples = np.random.default_rng(1).gamma(2.0, 3.0, 1234).tolist()
    found = percentiles(samples)
    assert found["p50"] == np.percentile(samples, 50)
    assert found["p95"] == np.percentile(samples, 95)
    assert found["p99"] == np.percentile(samples, 99)


def test_one_sample_is_every_percentile() -> None:
    assert percentiles([7.0]) == {"p50": 7.0, "p95": 7.0, "p99": 7.0}


def test_no_samples_is_an_error_not_a_zero() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentiles([])


def test_the_interval_of_the_median_is_the_one_of_order_statistics() -> None:
    # For the median of n = 400 the binomial interval is ranks 180 to 220 (n/2 -+ 1.96 sqrt(n)/2).
    samples = sorted(np.random.default_rng(2).normal(10, 2, 400).tolist())
    low, high = bootstrap(samples, seed=0, resamples=2000)["p50"]
    assert low == pytest.approx(samples[180], abs=0.1)
    assert high == pytest.approx(samples[220], abs=0.1)


def test_intervals_hold_their_percentile_and_widen_to_the_tail() -> None:
    samples = np.random.default_rng(3).gamma(2.0, 3.0, 2000).tolist()
    found = summary(samples, seed=0)
    widths = {}
    for name, (low, high) in found["ci"].items():
        assert low <= found[name] <= high
        widths[name] = high - low
    assert widths["p50"] < widths["p95"] < widths["p99"]
    assert found["n"] == 2000


def test_the_same_seed_gives_the_same_interval() -> None:
    samples = np.random.default_rng(4).normal(size=100).tolist()
    assert bootstrap(samples, seed=5) == bootstrap(samples, seed=5)
    assert bootstrap(samples, seed=5) != bootstrap(samples, seed=6)


def test_many_samples_are_resampled_in_pieces_with_the_same_result_shape() -> None:
    samples = np.random.default_rng(5).normal(50, 1, 300_000).tolist()
    low, high = bootstrap(samples, seed=0, resamples=20)["p50"]
    assert 49.9 < low < high < 50.1
