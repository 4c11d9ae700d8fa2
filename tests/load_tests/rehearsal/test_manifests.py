"""What an overlay says is what is acted out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from load_tests.rehearsal.manifests import (
    Deployment,
    ManifestError,
    Object,
    deployments,
    render,
    route,
    seconds,
)
from load_tests.rehearsal.pod import environment, expanded, localized
from services.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


def objects(overlay: str) -> Sequence[Object]:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed; it renders the overlays")
    return render(ROOT / "k8s" / "overlays" / overlay)


def one(overlay: str) -> Deployment:
    (found,) = deployments(objects(overlay))
    return found


def test_a_deployment_is_read_with_its_service_and_the_least_that_its_autoscaler_leaves() -> None:
    found = one("cpu-int8")
    assert (found.name, found.service, found.replicas) == ("transfer", "transfer", 2)
    assert (found.max_surge, found.max_unavailable) == (1, 0)
    assert (one("gpu-fp16").replicas, one("dev").replicas) == (1, 1)


def test_probes_and_times_are_those_of_the_manifest() -> None:
    pod = one("cpu-int8").pod
    assert (pod.startup.path, pod.readiness.path, pod.liveness.path) == (
        "/readyz",
        "/readyz",
        "/livez",
    )
    assert (pod.pre_stop_s, pod.grace_s, pod.readiness.period_s) == (10.0, 60.0, 5.0)
    assert pod.secrets == {"api-keys"}


def test_the_route_has_weights_a_timeout_retries_and_health_checks() -> None:
    found = route(objects("canary"))
    assert found is not None
    assert found.weights == {"transfer-stable": 90, "transfer-canary": 10}
    assert (found.mirror, found.timeout_s) == ("", 40.0)
    assert found.retry is not None and found.retry.statuses == (503,)
    assert found.health is not None and found.health.path == "/readyz"


def test_the_shadow_has_a_mirror() -> None:
    found = route(objects("shadow"))
    assert found is not None
    assert (found.weights, found.mirror) == ({"transfer-stable": 1}, "transfer-canary")


def test_without_a_route_there_is_none() -> None:
    assert route(objects("dev")) is None


def test_the_command_runs_here_with_paths_and_ports_of_this_machine(tmp_path: Path) -> None:
    container = one("cpu-int8").pod.container
    command = localized(container, tmp_path, 4321)
    assert command[1:5] == ["-m", "bentoml", "serve", "services.app:Transfer"]
    assert command[5:] == ["--host", "127.0.0.1", "--port", "4321"]
    env = environment(container, tmp_path, "transfer-1")
    assert env["BENTOML_HOME"] == f"{tmp_path}/bentoml-home"
    assert env["TRANSFER_API_KEYS_FILE"] == f"{tmp_path}/api-keys/keys"
    assert env["TRANSFER_METRICS"] not in ("9090", "open")
    assert Settings.from_environment(env).variants == ("distilled-int8", "zeroshot/full-int8")


def test_the_init_container_carries_from_the_image_to_the_volume(tmp_path: Path) -> None:
    for each in deployments(objects("canary")):
        assert each.pod.init is not None
        command = localized(each.pod.init, tmp_path, 4321)
        assert command[1:3] == ["-m", "services.deliver"]
        assert command[3:] == [f"{tmp_path}/image", f"{tmp_path}/models"]
        assert localized(each.pod.container, tmp_path, 1)[1:3] == ["-m", "bentoml"]

        env = environment(each.pod.container, tmp_path, "transfer-1")
        assert env["TRANSFER_LOCK"] == f"{tmp_path}/models/variants.lock.json"


def test_a_checkout_below_a_mount_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/tmp/checkout/.venv/bin/python")
    (each,) = deployments(objects("dev"))
    assert "/tmp" in each.pod.container.mounts
    command = localized(each.pod.container, tmp_path, 1)
    assert command[0] == "/tmp/checkout/.venv/bin/python"


def test_variables_are_filled_in_as_the_kubelet_does_it() -> None:
    env = {
        "POD": "$(metadata.name)",
        "BOTH": "$(POD)/$(LATER)",
        "LATER": "here",
        "LITERAL": "$$(POD) costs $5",
    }
    assert expanded(env, {"metadata.name": "transfer-1"}) == {
        "POD": "transfer-1",
        "BOTH": "transfer-1/$(LATER)",
        "LATER": "here",
        "LITERAL": "$(POD) costs $5",
    }


def test_a_variable_that_only_a_cluster_knows_is_told() -> None:
    (deployment,) = [each for each in objects("dev") if each["kind"] == "Deployment"]
    secret = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}
    deployment["spec"]["template"]["spec"]["containers"][0]["env"].append(secret)
    others = [each for each in objects("dev") if each["kind"] != "Deployment"]
    with pytest.raises(ManifestError, match=r"KEY comes from .*secretKeyRef"):
        deployments([deployment, *others])


@pytest.mark.parametrize(("text", "value"), [("50ms", 0.05), ("40s", 40.0), ("2m", 120.0)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


def test_what_is_no_duration_and_no_overlay_is_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="soon"):
        seconds("soon")
    objects("dev")
    with pytest.raises(ManifestError, match="does not render"):
        render(tmp_path)
