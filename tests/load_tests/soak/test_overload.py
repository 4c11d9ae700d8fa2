"""Overload: what is made of what an open loop saw, and a real one for a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from load_tests.soak import overload
from load_tests.soak.plan import SHORT, Row

PLAN = replace(SHORT, seconds=10.0)
GOOD: dict[str, Any] = {
    "due": 1000,
    "seconds": 10.0,
    "latencies_ms": [100.0] * 98,
    "refused_ms": [5.0] * 902,
    "without_retry_after": 0,
    "late_ms": {"p99": 1.0},
    "generator_cpu": 0.1,
    "failures": {"status 429": 902},
}


def missed(seen: Mapping[str, Any], normal_s: float = 1.0) -> list[str]:
    rows: list[Row] = overload.figures(PLAN, 10.0, dict(seen), normal_s)
    return [row["name"] for row in rows if row.get("reached") is False]


def test_a_server_that_refuses_in_time_has_no_fault() -> None:
    assert missed(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"failures": {"status 429": 901, "status 500": 1}}, "anything else"),
        ({"refused_ms": [], "failures": {}}, "anything else"),
        ({"without_retry_after": 1}, "429 without Retry-After"),
        ({"refused_ms": [5.0] * 800 + [60.0] * 102}, "p99 of a refusal"),
        ({"latencies_ms": [100.0] * 80}, "goodput over the saturated rate"),
    ],
)
def test_each_fault_is_named(changes: dict[str, Any], name: str) -> None:
    assert missed({**GOOD, **changes}) == [name]


def test_a_server_that_recovers_slowly_is_named() -> None:
    assert missed(GOOD, normal_s=6.0) == ["back to normal after"]


def test_a_probe_without_an_answer_is_named() -> None:
    found = overload.liveness([(200, 0.01), (0, 5.0)])
    assert [row["value"] for row in found] == [1, 5000.0]
    assert [row.get("reached") for row in found] == [False, None]
    assert overload.liveness([])[0]["reached"] is False


def test_a_refusal_is_not_back_to_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "ask", lambda *_: (429, 0.001))
    assert overload._alone("http://test", {"text": "a"}) == float("inf")


def test_no_two_bodies_are_equal() -> None:
    made = overload.different([{"text": "a"}, {"text": "b"}], 5)
    assert len({body["text"] for body in made}) == 5


@pytest.mark.alone
def test_a_real_one_is_overloaded_for_a_moment(published: Mapping[str, str]) -> None:
    env = {**published, "TRANSFER_QUEUE_TOKENS": "2000"}
    plan = replace(
        SHORT, seconds=2.5, peak_s=0.5, times=3.0, variants=("highlights/full",), env=env
    )
    found = {row["name"]: row for row in overload.measure(plan, print)["figures"]}
    assert found["refused with 429"]["value"] > 0
    assert found["answered with 200"]["value"] > 0
    assert found["anything else"]["value"] == 0
    assert found["429 without Retry-After"]["value"] == 0
    assert found["/livez other than 200"]["value"] == 0
