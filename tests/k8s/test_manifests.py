"""Every overlay is valid Kubernetes, and its parts fit each other and the service."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from services.settings import Settings
from tests.k8s.conftest import OVERLAYS, Overlay

PROBES = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
# The oldest that knows all we use (preStop sleep), and the newest that the validator knows.
VERSIONS = ("1.30", kubernetes_validate.latest_version())


def megabytes(quantity: str) -> float:
    assert quantity.endswith("Mi"), quantity
    return int(quantity[:-2]) * 1024 * 1024 / 1e6


def labels_of(overlay: Overlay) -> dict[str, str]:
    return dict(overlay.template["metadata"]["labels"])


def fits(selector: dict[str, str], overlay: Overlay) -> bool:
    return bool(selector) and selector.items() <= labels_of(overlay).items()


def test_there_is_an_overlay_for_cpu_and_one_for_gpu() -> None:
    assert {path.name for path in OVERLAYS} >= {"cpu-int8", "gpu-fp16"}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_passes_strict_validation(overlay: Overlay, version: str) -> None:
    for each in overlay.objects:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_overlay_holds_all_that_a_deployment_needs(overlay: Overlay) -> None:
    assert {each["kind"] for each in overlay.objects} >= {
        "Namespace",
        "ServiceAccount",
        "ConfigMap",
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }


def test_everything_lives_in_the_namespace_that_enforces_restricted(overlay: Overlay) -> None:
    namespace = overlay.one("Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [each for each in overlay.objects if each["kind"] != "Namespace"]
    assert {each["metadata"]["namespace"] for each in others} == {namespace["name"]}


def test_every_selector_finds_the_pods(overlay: Overlay) -> None:
    assert fits(overlay.deployment["selector"]["matchLabels"], overlay)
    assert fits(overlay.one("Service")["spec"]["selector"], overlay)
    assert fits(overlay.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], overlay)
    assert fits(overlay.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], overlay)
    for spread in overlay.pod["topologySpreadConstraints"]:
        assert fits(spread["labelSelector"]["matchLabels"], overlay)


def test_every_port_resolves_to_the_one_that_the_server_listens_on(overlay: Overlay) -> None:
    ports = {port["name"]: port["containerPort"] for port in overlay.container["ports"]}
    (service,) = overlay.one("Service")["spec"]["ports"]
    (ingress,) = overlay.one("NetworkPolicy")["spec"]["ingress"]
    named = [service["targetPort"], *(port["port"] for port in ingress["ports"])]
    named += [overlay.container[probe]["httpGet"]["port"] for probe in PROBES]
    assert {ports[name] for name in named} == {3000}
    arguments = overlay.container["args"]
    assert arguments[arguments.index("--port") + 1] == "3000"


def test_probes_ask_the_right_routes(overlay: Overlay) -> None:
    paths = {probe: overlay.container[probe]["httpGet"]["path"] for probe in PROBES}
    assert paths == PROBES


def test_starting_may_take_longer_than_living_may_fail(overlay: Overlay) -> None:
    startup = overlay.container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 120


def test_the_pod_meets_pod_security_restricted(overlay: Overlay) -> None:
    pod, security = overlay.pod["securityContext"], overlay.container["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & overlay.pod.keys()
    assert all(set(volume) == {"name", "emptyDir"} for volume in overlay.pod["volumes"])


def test_the_root_is_read_only_and_what_bentoml_writes_to_is_mounted(overlay: Overlay) -> None:
    assert overlay.container["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = {mount["name"]: mount["mountPath"] for mount in overlay.container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in overlay.pod["volumes"]}
    environment = {each["name"]: each["value"] for each in overlay.container["env"]}
    assert {"/tmp", environment["BENTOML_HOME"]} <= set(mounts.values())
    assert all(volume["emptyDir"]["sizeLimit"] for volume in overlay.pod["volumes"])


def test_no_token_reaches_the_pod(overlay: Overlay) -> None:
    account = overlay.one("ServiceAccount")
    assert overlay.pod["serviceAccountName"] == account["metadata"]["name"]
    assert account["automountServiceAccountToken"] is False
    assert overlay.pod["automountServiceAccountToken"] is False


def test_service_links_do_not_mix_with_the_settings(overlay: Overlay) -> None:
    # A Service named transfer would inject TRANSFER_PORT, TRANSFER_SERVICE_HOST and more.
    assert overlay.pod["enableServiceLinks"] is False


def test_the_settings_are_accepted_by_the_service(overlay: Overlay) -> None:
    known = {f"TRANSFER_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert overlay.settings.keys() <= known
    Settings.from_environment(overlay.settings)


def test_the_container_reads_the_generated_settings(overlay: Overlay) -> None:
    (source,) = overlay.container["envFrom"]
    name = overlay.one("ConfigMap")["metadata"]["name"]
    assert source == {"configMapRef": {"name": name}}
    assert name != "transfer-settings", "without a hash a changed setting would not roll the pods"


def test_the_grace_period_outlasts_the_drain(overlay: Overlay) -> None:
    wait_s = overlay.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    timeout_s = Settings.from_environment(overlay.settings).timeout_s
    assert overlay.pod["terminationGracePeriodSeconds"] > wait_s + timeout_s


def test_a_rolling_update_never_takes_a_pod_away_first(overlay: Overlay) -> None:
    assert overlay.deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_autoscaler_rules_alone_over_an_existing_target(overlay: Overlay) -> None:
    scaler = overlay.one("HorizontalPodAutoscaler")["spec"]
    deployment = overlay.one("Deployment")
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in overlay.deployment
    assert 1 <= scaler["minReplicas"] < scaler["maxReplicas"]


def test_utilization_has_a_request_to_refer_to(overlay: Overlay) -> None:
    (metric,) = overlay.one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["resource"]["target"]["type"] == "Utilization"
    assert metric["resource"]["name"] in overlay.container["resources"]["requests"]


def test_memory_is_the_measured_peak_with_a_fifth_more(overlay: Overlay) -> None:
    annotations = overlay.template["metadata"]["annotations"]
    peak_mb = next(float(annotations[key]) for key in annotations if key.endswith("peak-pss-mb"))
    resources = overlay.container["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert 1.2 * peak_mb <= megabytes(resources["requests"]["memory"]) <= 1.5 * peak_mb


def test_threads_are_the_requested_cores(overlay: Overlay) -> None:
    threads = Settings.from_environment(overlay.settings).threads
    assert overlay.container["resources"]["requests"]["cpu"] == str(threads)


def test_images_are_pinned_to_a_version(overlay: Overlay) -> None:
    name, _, tag = overlay.container["image"].rpartition(":")
    assert name.endswith("/transfer")
    assert tag not in ("", "latest")


def test_what_runs_fits_the_hardware(overlay: Overlay) -> None:
    settings = Settings.from_environment(overlay.settings)
    limits: dict[str, Any] = overlay.container["resources"]["limits"]
    gpu = settings.provider == "cuda"
    assert ("nvidia.com/gpu" in limits) == gpu
    variants = [name.split("/")[-1] for name in settings.variants]
    assert all(name.endswith("-fp16" if gpu else "-int8") for name in variants)


def test_nothing_leaves_the_pod_and_only_named_callers_enter(overlay: Overlay) -> None:
    policy = overlay.one("NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert not policy.get("egress")
    assert all(rule["from"] for rule in policy["ingress"])


def test_there_is_no_secret_in_the_manifests(overlay: Overlay) -> None:
    assert "Secret" not in {each["kind"] for each in overlay.objects}
