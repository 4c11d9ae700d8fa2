"""Replicas, nodes and cost of a load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from load_tests.capacity import Fleet, Wanted, plan, record_of, told
from services.errors import UsageError
from tests.load_tests.records import record, row, tried

ROOT = Path(__file__).resolve().parents[2]
RECORD = record()


def fleets(**wanted: Any) -> dict[str, Fleet]:
    asked = Wanted(**{"rps": 2800.0, "p99_ms": 50.0, **wanted})
    return {each.variant: each for each in plan(RECORD, asked, ["intent"])}


def test_replicas_carry_the_load_at_their_share_and_one_may_be_missing() -> None:
    found = fleets()["distilled-int8"]
    assert (found.rate, found.p99_ms) == (400.0, 40.0)
    assert found.replicas == 2800 / (400 * 0.7) + 1
    assert fleets(spare=0)["distilled-int8"].replicas == 10
    assert fleets(utilization=1.0, spare=0)["distilled-int8"].replicas == 7


def test_a_tighter_p99_takes_more_replicas() -> None:
    assert fleets(p99_ms=10.0)["distilled-int8"].replicas == 2800 / (200 * 0.7) + 1


def test_a_node_holds_what_its_cores_and_its_memory_hold_less_the_systems_tenth() -> None:
    found = fleets()["distilled-int8"]  # two cores and 240 MB a replica
    assert (found.memory_mb, found.per_node, found.nodes) == (240.0, 7, 2)
    assert fleets(node_gib=1.0)["distilled-int8"].per_node == 4
    assert fleets(node_cores=64)["distilled-int8"].nodes == 1


def test_costs_follow_the_nodes() -> None:
    found = fleets()["distilled-int8"]  # 0.36 an hour for the report's two cores
    assert found.cost_per_hour == pytest.approx(2 * 0.36 / 2 * 16)
    assert found.cost_per_million == pytest.approx(5.76 / 3600 / 2800 * 1e6, rel=1e-3)
    assert fleets(node_price=1.0)["distilled-int8"].cost_per_hour == 2.0


def test_the_cheapest_of_a_model_comes_first() -> None:
    costs = [each.cost_per_hour for each in fleets(rps=20_000.0).values()]
    assert costs == sorted(costs)
    assert next(iter(fleets(rps=20_000.0))) == "distilled-int8"


def test_requests_in_flight_are_the_rate_times_the_time_of_each() -> None:
    stages = {"stages_ms": {"total": 25.0}}
    measured = record(row("full", rates=[tried(100.0, 40.0, **stages)]))
    (found,) = plan(measured, Wanted(1000.0, 50.0), ["intent"])
    assert found.in_flight == 2  # 100 x 0.7 x 0.025 s = 1.75
    assert found.cpu_percent == 70


def test_variants_that_never_keep_the_p99_are_left_out() -> None:
    measured = record(row("full", rates=[tried(100.0, 90.0)]), row("distilled-int8"))
    assert [each.variant for each in plan(measured, Wanted(100.0, 50.0))] == ["distilled-int8"]


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"rps": 0.0}, "rps"),
        ({"utilization": 1.5}, "utilization"),
        ({"spare": -1}, "spare"),
        ({"node_cores": 2}, "holds none"),
        ({"p99_ms": 1.0}, "within 1 ms"),
    ],
)
def test_what_cannot_be_is_refused(wanted: dict[str, float], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        fleets(**wanted)


def test_a_model_that_was_not_measured_is_told() -> None:
    with pytest.raises(UsageError, match="nobody"):
        plan(RECORD, Wanted(100.0, 50.0), ["nobody"])


def test_the_table_shows_its_arithmetic() -> None:
    wanted = Wanted(2800.0, 50.0)
    text = told(plan(RECORD, wanted, ["intent"]), wanted, RECORD)
    assert "2800 / (400 x 0.7) + 1 = 11 replicas" in text
    assert "averageUtilization 70" in text


def test_the_verb_plans_with_the_published_report_where_there_is_no_other(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "transfer.py"), "plan", "intent", "--json"]
    done = subprocess.run(
        [*command, "--rps", "5000", "--p99-ms", "50"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found.keys() == record_of([], Wanted(1.0, 1.0)).keys()
    assert {each["model"] for each in found["fleets"]} == {"intent"}
    assert "docs/results/tradeoff.json" in done.stderr
