"""Whether a process stays as it is: what counts as growth, and what is only the beginning."""

from __future__ import annotations

import pytest

from load_tests.sampler import Sample
from load_tests.soak.flat import drift


def run(pss: float = 0.0, fds: float = 0.0, threads: float = 0.0) -> list[Sample]:
    """600 seconds in which each grows evenly by so much."""
    return [
        Sample(
            float(t),
            400.0 + pss * t / 600,
            fds=round(50 + fds * t / 600),
            threads=round(20 + threads * t / 600),
        )
        for t in range(601)
    ]


def test_what_stays_as_it_is_has_no_fault() -> None:
    assert drift(run()).faults() == []


@pytest.mark.parametrize(
    ("samples", "word"),
    [(run(pss=60), "PSS"), (run(fds=30), "file descriptors"), (run(threads=10), "threads")],
    ids=["memory", "files", "threads"],
)
def test_what_grows_is_named(samples: list[Sample], word: str) -> None:
    [fault] = drift(samples).faults()
    assert word in fault and "allowed" in fault


def test_the_beginning_does_not_count() -> None:
    warming = [Sample(float(t), 400.0 + min(t, 120) * 2, fds=50, threads=20) for t in range(601)]
    assert drift(warming).pss_mb == 0


def test_a_large_process_may_grow_by_a_share() -> None:
    large = [Sample(float(t), 2000.0 + 0.19 * t, fds=50, threads=20) for t in range(601)]
    assert 60 < drift(large).pss_mb < 100
    assert drift(large).faults() == []


def test_a_single_sample_decides_nothing() -> None:
    samples = run()
    samples[-1] = Sample(600.0, 900.0, fds=500, threads=200)
    assert drift(samples).faults() == []


def test_too_few_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="1 samples"):
        drift(run()[:1])
