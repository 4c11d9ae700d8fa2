"""Memory over time, watched from outside."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from load_tests.memory import tree_pss_mb
from load_tests.sampler import Sample, Sampler
from tests.load_tests.test_memory import TAKE_MB, TAKER


def test_the_course_and_the_peak_of_a_process_are_kept() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", TAKER], stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        child.stdout.readline()
        held_mb = tree_pss_mb(child.pid)
        with Sampler(child.pid, every_s=0.01) as sampler:
            time.sleep(0.2)
        child.communicate()
    assert len(sampler.samples) >= 3
    times = [sample.t for sample in sampler.samples]
    assert times == sorted(times)
    assert sampler.peak_mb > max(TAKE_MB, 0.7 * held_mb)
    assert 0 < sampler.p95_mb <= sampler.peak_mb
    assert all(sample.threads == 1 and sample.fds >= 3 for sample in sampler.samples[:-1])


def test_a_process_that_is_gone_weighs_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with Sampler(child.pid, every_s=0.01) as sampler:
        pass
    assert sampler.peak_mb == 0.0
    assert sampler.cgroup_peak_mb is None


def test_the_p95_leaves_the_highest_samples_out() -> None:
    sampler = Sampler(0)
    sampler.samples = [Sample(t, 100.0) for t in range(99)] + [Sample(99, 900.0)]
    assert (sampler.p95_mb, sampler.peak_mb) == (100.0, 900.0)


@pytest.mark.parametrize(("count", "expected"), [(1, 1.0), (10, 10.0), (30, 29.0), (100, 95.0)])
def test_the_p95_is_the_nearest_rank(count: int, expected: float) -> None:
    sampler = Sampler(1)
    sampler.samples = [Sample(t=0.0, pss_mb=float(number)) for number in range(1, count + 1)]
    assert sampler.p95_mb == expected
