"""The component that no overlay has by itself, added to those that let nothing out."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes_validate import validate

from load_tests.rehearsal.manifests import deployments
from load_tests.rehearsal.pod import environment
from services.settings import Settings
from tests.k8s import test_security as security
from tests.k8s import test_wiring as wiring
from tests.k8s.conftest import ROOT, Overlay, render

COMPONENT = ROOT / "k8s" / "components" / "tracing"
RUNBOOK = ROOT / "docs" / "operations.md"
# Where its own words say that it goes.
PLACES = {
    "cpu-int8": ["overlays/cpu-int8"],
    "canary": ["overlays/canary/stable", "overlays/canary/canary"],
}
DNS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {
        "matchExpressions": [{"key": "k8s-app", "operator": "In", "values": ["kube-dns"]}]
    },
}


def with_tracing(folder: Path, places: list[str]) -> Path:
    """A copy of the manifests in which the component is added there."""
    k8s = folder / "k8s"
    shutil.copytree(ROOT / "k8s", k8s)
    for place in places:
        path = k8s / place / "kustomization.yaml"
        content = yaml.safe_load(path.read_text())
        up = "../" * len(Path(place).parts)
        content.setdefault("components", []).append(f"{up}components/tracing")
        path.write_text(yaml.safe_dump(content))
    return k8s


@pytest.fixture(params=PLACES)
def traced(request: pytest.FixtureRequest, tmp_path: Path) -> Overlay:
    """An overlay with `components/tracing`, as a user would add it."""
    k8s = with_tracing(tmp_path, PLACES[request.param])
    return Overlay(request.param, render(k8s / "overlays" / request.param))


def policies(overlay: Overlay) -> list[dict[str, object]]:
    """The specifications of those that it brings."""
    found = [
        each["spec"]
        for each in overlay.all("NetworkPolicy")
        if each["metadata"]["name"].startswith("transfer-tracing")
    ]
    assert len(found) == len(overlay.servers)
    return found


def test_its_objects_are_valid(traced: Overlay) -> None:
    for each in (*traced.all("Deployment"), *traced.all("NetworkPolicy")):
        validate(each, "1.30", strict=True)


def test_the_service_sends_where_the_policy_lets_it_and_nowhere_else(traced: Overlay) -> None:
    """To the collector's port in a namespace with the label, and to the cluster's DNS."""
    for server in traced.servers:
        port = urlsplit(Settings.from_environment(server.settings).traces).port
        (policy,) = [
            each
            for each in policies(traced)
            if server.has(each["podSelector"]["matchLabels"])  # type: ignore[index]
        ]
        collector, names = policy["egress"]  # type: ignore[misc]
        assert policy["policyTypes"] == ["Egress"]
        assert collector == {
            "to": [{"namespaceSelector": {"matchLabels": {"transfer-tracing": "true"}}}],
            "ports": [{"port": port, "protocol": "TCP"}],
        }
        assert names["to"] == [DNS]
        assert {(each["port"], each["protocol"]) for each in names["ports"]} == {
            (53, "UDP"),
            (53, "TCP"),
        }


def test_all_else_stays_in(traced: Overlay) -> None:
    ours = {each["metadata"]["name"] for each in traced.all("NetworkPolicy")}
    others = {name for name in ours if not name.startswith("transfer-tracing")}
    assert len(others) == len(traced.servers)
    for name in others:
        assert traced.named("NetworkPolicy", name)["spec"]["egress"] == []


def test_the_label_of_the_policy_is_the_one_that_people_are_told() -> None:
    for text in ((COMPONENT / "kustomization.yaml").read_text(), RUNBOOK.read_text()):
        assert "transfer-tracing=true" in text


def test_it_is_told_where_it_goes_and_elsewhere_kustomize_refuses_it(tmp_path: Path) -> None:
    for place in PLACES["canary"]:
        assert place in (COMPONENT / "kustomization.yaml").read_text()
        assert place in RUNBOOK.read_text()
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed; it renders the overlays")
    k8s = with_tracing(tmp_path, ["overlays/canary"])
    command = ["kubectl", "kustomize", str(k8s / "overlays" / "canary")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode
    assert re.search("transfer-settings|transfer", done.stderr)


def test_a_span_says_which_pod_it_is_from(traced: Overlay) -> None:
    for server in traced.servers:
        names = [each["name"] for each in server.container["env"]]
        # $(NAME) is only filled in where NAME was defined before.
        assert names.index("POD_NAME") < names.index("OTEL_RESOURCE_ATTRIBUTES")
        assert names.index("POD_NAMESPACE") < names.index("OTEL_RESOURCE_ATTRIBUTES")
        assert "BENTOML_HOME" in names


def test_it_can_be_rehearsed(traced: Overlay, tmp_path: Path) -> None:
    for each in deployments(traced.objects):
        env = environment(each.pod.container, tmp_path, f"{each.name}-1")
        assert env["POD_NAME"] == f"{each.name}-1"
        assert env["OTEL_RESOURCE_ATTRIBUTES"] == (
            f"k8s.pod.name={each.name}-1,k8s.namespace.name=transfer"
        )


@pytest.mark.parametrize(
    "holds",
    [
        security.test_every_pod_meets_pod_security_restricted,
        security.test_every_container_is_hardened_those_that_prepare_the_pod_too,
        security.test_every_container_says_what_memory_it_needs_and_gets_no_more,
        security.test_what_is_written_to_is_bounded,
        security.test_no_token_reaches_a_pod,
        security.test_service_links_do_not_mix_with_the_settings,
        security.test_what_bentoml_and_python_write_to_is_mounted,
        security.test_nobody_asks_without_a_key_which_comes_from_a_secret_that_is_not_ours,
        wiring.test_every_selector_of_a_workload_finds_its_own_pods_alone,
        wiring.test_every_other_selector_finds_pods,
        wiring.test_every_port_that_is_let_in_exists,
        wiring.test_the_settings_are_accepted_by_the_service,
        wiring.test_a_changed_setting_rolls_the_pods,
    ],
    ids=lambda holds: holds.__name__.removeprefix("test_"),
)
def test_what_holds_without_it_holds_with_it(
    traced: Overlay, holds: Callable[[Overlay], None]
) -> None:
    holds(traced)


def test_models_are_delivered_with_it_too(tmp_path: Path) -> None:
    k8s = with_tracing(tmp_path, PLACES["canary"])
    canary = Overlay("canary", render(k8s / "overlays" / "canary"))
    wiring.test_models_are_delivered_where_the_server_looks_for_them(canary)
