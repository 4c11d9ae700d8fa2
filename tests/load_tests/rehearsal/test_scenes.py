"""Pods of a stub behind a real Envoy: what is sent is answered, whoever comes and goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from load_tests.rehearsal import scenes
from load_tests.rehearsal.manifests import Deployment, HealthCheck, Retry, Route
from load_tests.rehearsal.pod import Place
from load_tests.rehearsal.scenes import Stage

Make = Callable[..., Deployment]

pytestmark = pytest.mark.usefixtures("envoy")


def stage(place: Place, folder: Path, route: Route, *deployments: Deployment) -> Stage:
    return Stage(deployments, route, place, folder / "pods", rate=50.0, lag_s=0.2)


def test_a_rolling_update_loses_nothing(deployed: Make, place: Place, tmp_path: Path) -> None:
    one = deployed()
    found = scenes.rolling(stage(place, tmp_path, scenes.plain(one), one), updates=2)
    assert (found["lost"], found["failures"]) == (0, {})
    assert found["sent"] == found["answered"] > 50
    assert (found["replicas"], found["pods_replaced"], found["retries"]) == (2, 4, 0)
    assert found["pods"] == {
        "ended": 4,
        "exit_codes": ["0"],
        "killed_after_grace": 0,
        "liveness_failures": 0,
        "restarts": 0,
    }


def test_a_rolling_update_goes_on_as_long_as_it_is_told_to(
    deployed: Make, place: Place, tmp_path: Path
) -> None:
    one = deployed()
    found = scenes.rolling(stage(place, tmp_path, scenes.plain(one), one), 1, least_s=3.0)
    assert found["updates"] > 1
    assert found["pods_replaced"] == 2 * found["updates"]


def test_pods_that_end_before_the_proxy_knows_lose_requests_and_the_scene_says_so(
    deployed: Make, place: Place, tmp_path: Path
) -> None:
    hasty = deployed(pre_stop_s=0.0, grace_s=0.0)
    found = scenes.rolling(stage(place, tmp_path, scenes.plain(hasty), hasty), updates=2)
    assert found["lost"] > 0
    assert found["failures"]
    assert found["pods"]["killed_after_grace"] == 4


def test_a_killed_worker_ends_its_container_which_is_started_again(
    deployed: Make, place: Place, tmp_path: Path
) -> None:
    one = deployed()
    found = scenes.kills(stage(place, tmp_path, patient(one), one), times=2)
    assert (found["kills"], found["restarts"], found["replicas"]) == (2, 2, 2)
    assert (found["lost"], found["failures"]) == (0, {})


def patient(one: Deployment) -> Route:
    """What is lost with a pod is asked of another one."""
    retry = Retry(4, ("connect-failure", "reset", "retriable-status-codes"), (503,), 0.05, 0.5)
    health = HealthCheck("/readyz", 0.2, 1.0, 2)
    return Route({one.service: 1}, timeout_s=5.0, retry=retry, health=health)


def test_weights_are_kept(deployed: Make, place: Place, tmp_path: Path) -> None:
    stable, canary = deployed("transfer-stable"), deployed("transfer-canary")
    route = Route({"transfer-stable": 90, "transfer-canary": 10}, timeout_s=5.0)
    found = scenes.weighted(stage(place, tmp_path, route, stable, canary), seconds=6.0)
    assert found["lost"] == 0
    got = found["requests"]
    assert sum(got.values()) == found["sent"]
    assert 0.02 < got["transfer-canary"] / found["sent"] < 0.25
    assert found["pods"]["transfer-canary"]["ended"] == 2


def test_a_canary_under_locust_keeps_its_weights_and_loses_nothing(
    deployed: Make, place: Place, tmp_path: Path
) -> None:
    stable, canary = deployed("transfer-stable"), deployed("transfer-canary")
    route = Route({"transfer-stable": 90, "transfer-canary": 10}, timeout_s=5.0)
    under = replace(stage(place, tmp_path, route, stable, canary), locust=True)
    found = scenes.weighted(under, seconds=8.0)
    assert found["load"].startswith("locust 2.")
    assert (found["lost"], found["shed"], found["failures"]) == (0, 0, {})
    got = found["requests"]
    assert sum(got.values()) == found["sent"] == found["answered"] > 100
    assert 0.02 < got["transfer-canary"] / found["sent"] < 0.25
    assert found["pods"]["transfer-canary"]["ended"] == 2
    assert found["latency_ms"]["p99"] > 0


def test_what_locust_does_not_get_an_answer_to_is_lost(
    deployed: Make, place: Place, tmp_path: Path
) -> None:
    hasty = deployed(pre_stop_s=0.0, grace_s=0.0)
    under = replace(stage(place, tmp_path, scenes.plain(hasty), hasty), locust=True)
    found = scenes.rolling(under, updates=2, least_s=8.0)
    assert found["lost"] > 0
    assert found["lost"] == found["shed"] + sum(found["failures"].values())


def test_a_shadow_gets_a_copy_and_answers_nobody(
    deployed: Make, place: Place, tmp_path: Path
) -> None:
    stable, canary = deployed("transfer-stable"), deployed("transfer-canary")
    route = Route({"transfer-stable": 1}, mirror="transfer-canary", timeout_s=5.0)
    found = scenes.weighted(stage(place, tmp_path, route, stable, canary), seconds=2.0)
    assert found["lost"] == 0
    assert found["requests"]["transfer-stable"] == found["sent"]
    assert found["requests"]["transfer-canary"] >= 0.9 * found["sent"]


def test_memory_is_that_of_one_pod(deployed: Make, place: Place, tmp_path: Path) -> None:
    one = deployed()
    found = scenes.alone(stage(place, tmp_path, scenes.plain(one), one), seconds=2.0)
    assert found["lost"] == 0
    assert 5 < found["peak_pss_mb"] < 100
    assert found["variants"] == "transfer"


def test_a_route_with_retries_and_health_checks_is_understood_by_envoy(
    deployed: Make, place: Place, tmp_path: Path
) -> None:
    one = deployed()
    with scenes.running(stage(place, tmp_path, patient(one), one)) as now, now.load as load:
        victim = now.fleets[one.service].pods[0]
        victim.end_at_once()
    assert load.seen["lost"] == 0
