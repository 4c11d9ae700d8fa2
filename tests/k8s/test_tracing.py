"""The component that no overlay has by itself, added to one that lets nothing out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from kubernetes_validate import validate

from services.settings import Settings
from tests.k8s.conftest import ROOT, Overlay, render


@pytest.fixture
def traced(tmp_path: Path) -> Overlay:
    """cpu-int8 with `components/tracing`, as a user would add it."""
    k8s = os.path.relpath(ROOT / "k8s", tmp_path)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "transfer",
        "resources": [f"{k8s}/overlays/cpu-int8"],
        "components": [f"{k8s}/components/tracing"],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return Overlay("traced", render(tmp_path))


def test_its_objects_are_valid(traced: Overlay) -> None:
    for each in (traced.one("Deployment"), *traced.all("NetworkPolicy")):
        validate(each, "1.30", strict=True)


def test_the_service_sends_where_the_policy_lets_it(traced: Overlay) -> None:
    (server,) = traced.servers
    collector = Settings.from_environment(server.settings).traces
    policy = traced.named("NetworkPolicy", "transfer-tracing")
    ports = [str(port["port"]) for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert collector.rpartition(":")[2] in ports
    assert server.has(policy["spec"]["podSelector"]["matchLabels"])
    assert traced.named("NetworkPolicy", "transfer")["spec"]["egress"] == []


def test_a_span_says_which_pod_it_is_from(traced: Overlay) -> None:
    (server,) = traced.servers
    names = [each["name"] for each in server.container["env"]]
    # $(NAME) is only filled in where NAME was defined before.
    assert names.index("POD_NAME") < names.index("OTEL_RESOURCE_ATTRIBUTES")
    assert "BENTOML_HOME" in names
