"""Who decides how many pods there are, by what, and what each of them asks for."""

from __future__ import annotations

import json

import pytest

from services.settings import Settings
from tests.k8s.conftest import ROOT, Overlay, Workload, rendered

REHEARSAL = ROOT / "docs" / "results" / "rehearsal.json"


def megabytes(quantity: str) -> float:
    assert quantity.endswith("Mi"), quantity
    return int(quantity[:-2]) * 1024 * 1024 / 1e6


def scaled(overlay: Overlay) -> dict[str, tuple[int, int]]:
    """Deployments that an autoscaler rules, with its bounds."""
    found = {}
    for each in overlay.all("HorizontalPodAutoscaler"):
        spec = each["spec"]
        found[spec["scaleTargetRef"]["name"]] = (spec["minReplicas"], spec["maxReplicas"])
    for each in overlay.all("ScaledObject"):
        spec = each["spec"]
        found[spec["scaleTargetRef"]["name"]] = (spec["minReplicaCount"], spec["maxReplicaCount"])
    return found


def test_either_an_autoscaler_rules_or_the_manifest(serving: Overlay) -> None:
    for server in serving.servers:
        assert (server.name in scaled(serving)) != ("replicas" in server.spec)
    assert scaled(serving).keys() <= {server.name for server in serving.servers}


def test_every_production_deployment_is_scaled_within_bounds(production: Overlay) -> None:
    assert scaled(production).keys() == {server.name for server in production.servers}
    for least, most in scaled(production).values():
        assert 1 <= least < most


def test_nobody_has_two_masters(production: Overlay) -> None:
    scalers = [*production.all("HorizontalPodAutoscaler"), *production.all("ScaledObject")]
    assert len(scalers) == len(scaled(production))


def test_utilization_has_a_request_to_refer_to(production: Overlay) -> None:
    for scaler in production.all("HorizontalPodAutoscaler"):
        (metric,) = scaler["spec"]["metrics"]
        target = scaler["spec"]["scaleTargetRef"]["name"]
        (server,) = [each for each in production.servers if each.name == target]
        assert metric["resource"]["target"]["type"] == "Utilization"
        assert metric["resource"]["name"] in server.container["resources"]["requests"]


def test_a_gpu_is_scaled_by_work_and_not_by_cpu() -> None:
    gpu = rendered("gpu-fp16")
    assert not gpu.all("HorizontalPodAutoscaler")
    spec = gpu.one("ScaledObject")["spec"]
    asked = " ".join(trigger["metadata"]["query"] for trigger in spec["triggers"])
    assert "transfer_in_flight" in asked
    assert "transfer_queue_seconds" in asked
    # `fallback` knows this kind of metric alone.
    assert {trigger["metricType"] for trigger in spec["triggers"]} == {"AverageValue"}
    assert spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]


def test_pods_are_added_long_before_they_refuse() -> None:
    spec = rendered("gpu-fp16").one("ScaledObject")["spec"]
    (queue,) = [each for each in spec["triggers"] if each["name"] == "queue-seconds"]
    (server,) = rendered("gpu-fp16").servers
    bound = Settings.from_environment(server.settings).queue_s
    assert float(queue["metadata"]["threshold"]) <= bound / 4


def test_a_rolling_update_never_takes_a_pod_away_first(serving: Overlay) -> None:
    for server in serving.servers:
        rolling = server.spec["strategy"]["rollingUpdate"]
        assert rolling == {"maxUnavailable": 0, "maxSurge": 1}


def test_every_server_has_a_disruption_budget(serving: Overlay) -> None:
    budgets = [each["spec"] for each in serving.all("PodDisruptionBudget")]
    for server in serving.servers:
        (own,) = [each for each in budgets if server.has(each["selector"]["matchLabels"])]
        assert own["maxUnavailable"] == 1


def test_threads_are_the_requested_cores(serving: Overlay) -> None:
    for server in serving.servers:
        threads = Settings.from_environment(server.settings).threads
        assert server.container["resources"]["requests"]["cpu"] == str(threads)


def peak_mb(server: Workload) -> float:
    annotations = server.template["metadata"]["annotations"]
    return next(float(annotations[key]) for key in annotations if key.endswith("peak-pss-mb"))


def test_memory_is_the_measured_peak_with_a_fifth_more(serving: Overlay) -> None:
    for server in serving.servers:
        requested = megabytes(server.container["resources"]["requests"]["memory"])
        assert 1.2 * peak_mb(server) <= requested <= 1.5 * peak_mb(server)


def test_the_peak_is_what_the_rehearsal_measured(serving: Overlay) -> None:
    measured = json.loads(REHEARSAL.read_text(encoding="utf-8"))["memory"]["result"]
    for server in serving.servers:
        found = measured.get(f"{serving.name}/{server.name}")
        if found is None:  # a GPU, or the same pods as another overlay's
            assert serving.name in ("gpu-fp16", "shadow")
            continue
        assert found["variants"] == server.settings["TRANSFER_VARIANTS"]
        assert peak_mb(server) == pytest.approx(found["peak_pss_mb"], rel=0.1)


@pytest.mark.parametrize("name", ["canary", "loadtest"])
def test_the_same_image_serves_every_part(name: str) -> None:
    images = {each.container["image"] for each in rendered(name).workloads}
    assert len(images) == 1
