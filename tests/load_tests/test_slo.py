"""What a server has promised, and whether a run says anything about it."""

from __future__ import annotations

from typing import Any

import pytest

from load_tests import validity
from load_tests.slo import Slo


def phase(**changes: Any) -> dict[str, Any]:
    base = {"latencies_ms": [1.0] * 99 + [40.0], "shed": 0, "failures": {}}
    return {**base, "achieved": 1.0, "generator_cpu": 0.3, **changes}


def test_a_phase_that_keeps_all_promises() -> None:
    assert Slo(p99_ms=10.0).faults(phase(latencies_ms=[1.0] * 100)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latencies_ms": [20.0] * 10}, "p99 is 20.0 ms; promised are 10"),
        ({"latencies_ms": []}, "no good answer"),
        ({"latencies_ms": [1.0] * 90, "shed": 10}, "10 of 100 requests were shed"),
        ({"latencies_ms": [1.0] * 99, "failures": {"status 500": 1}}, "1 of 100 requests failed"),
    ],
)
def test_each_broken_promise_is_named(changes: dict[str, Any], words: str) -> None:
    assert Slo(p99_ms=10.0).faults(phase(**changes)) == [words]


def test_without_a_promised_p99_latency_does_not_matter() -> None:
    slo = Slo(p99_ms=None, max_shed=0.5, max_failures=0.5)
    assert slo.faults(phase(latencies_ms=[1e6], failures={"status 500": 1})) == []
    assert slo.faults(phase(latencies_ms=[], shed=1)) == ["1 of 1 requests were shed"]
    assert slo.faults(phase(latencies_ms=[])) == ["no good answer"]


def test_one_in_a_hundred_may_be_shed() -> None:
    assert Slo(p99_ms=10.0).faults(phase(latencies_ms=[1.0] * 99, shed=1)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"achieved": 0.97}, "released 97.0% of the requests in time"),
        ({"generator_cpu": 0.71}, "used 71% of a core"),
    ],
)
def test_a_generator_that_fell_behind_makes_a_run_invalid(
    changes: dict[str, Any], words: str
) -> None:
    (fault,) = validity.faults(phase(**changes))
    assert words in fault


def test_a_generator_that_kept_up_makes_it_valid() -> None:
    assert validity.faults(phase(achieved=0.98, generator_cpu=0.7)) == []
    assert validity.faults(phase(achieved=None)) == []
