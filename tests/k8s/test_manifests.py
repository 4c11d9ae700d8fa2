"""Every overlay is valid Kubernetes, whole, and nothing in it is left to chance."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest

from tests.k8s.conftest import OVERLAYS, Overlay

# The oldest that knows all we use (preStop sleep), and the newest that the validator knows.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
BUILT_IN = ("v1", "apps/v1", "batch/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1")
CUSTOM = (
    "gateway.networking.k8s.io/v1",
    "gateway.envoyproxy.io/v1alpha1",
    "keda.sh/v1alpha1",
    "monitoring.coreos.com/v1",
)
VERSION = re.compile(r"\d+\.\d+\.\d+(-[a-z0-9.]+)?")


def test_there_is_an_overlay_for_each_way_of_running_it() -> None:
    expected = {"canary", "cpu-int8", "dev", "gpu-fp16", "loadtest", "shadow", "train"}
    assert {path.name for path in OVERLAYS} == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_every_built_in_object_passes_strict_validation(overlay: Overlay, version: str) -> None:
    for each in overlay.objects:
        if each["apiVersion"] in BUILT_IN:
            kubernetes_validate.validate(each, version, strict=True)


def test_every_kind_has_somebody_who_validates_it(overlay: Overlay) -> None:
    # The custom ones: test_crds.py.
    assert {each["apiVersion"] for each in overlay.objects} <= {*BUILT_IN, *CUSTOM}


def test_everything_lives_in_the_namespace_that_enforces_restricted(overlay: Overlay) -> None:
    namespace = overlay.one("Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [each for each in overlay.objects if each["kind"] != "Namespace"]
    assert {each["metadata"]["namespace"] for each in others} == {namespace["name"]}


def test_no_name_is_given_twice(overlay: Overlay) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in overlay.objects]
    assert len(names) == len(set(names))


def test_images_are_pinned_to_a_version_and_none_of_ours_is_left_unnamed(overlay: Overlay) -> None:
    for workload in overlay.workloads:
        for container in workload.containers:
            name, _, tag = container["image"].rpartition(":")
            assert name.startswith("registry.example.com/transfer"), container["image"]
            assert VERSION.fullmatch(tag), container["image"]


def test_there_is_no_secret_in_the_manifests(overlay: Overlay) -> None:
    assert not overlay.all("Secret")


def test_everything_that_is_named_exists(overlay: Overlay) -> None:
    """Config maps and accounts; secrets and claims are the cluster's own."""
    for workload in overlay.workloads:
        for container in workload.containers:
            for source in container["envFrom"]:
                assert overlay.named("ConfigMap", source["configMapRef"]["name"])
        if account := workload.pod.get("serviceAccountName"):
            assert overlay.named("ServiceAccount", account)


def test_every_mount_is_of_a_volume_and_every_volume_is_mounted(overlay: Overlay) -> None:
    for workload in overlay.workloads:
        mounted = {mount["name"] for each in workload.containers for mount in each["volumeMounts"]}
        assert mounted == {volume["name"] for volume in workload.pod["volumes"]}
        for each in workload.containers:
            paths = [mount["mountPath"] for mount in each["volumeMounts"]]
            assert len(paths) == len(set(paths))


def test_variables_in_arguments_are_set(overlay: Overlay) -> None:
    """Kubernetes leaves `$(NAME)` as it is where NAME is not known."""
    for workload in overlay.workloads:
        for container in workload.containers:
            known: set[str] = {each["name"] for each in container.get("env", ())}
            for source in container["envFrom"]:
                data: dict[str, Any] = overlay.named("ConfigMap", source["configMapRef"]["name"])
                known |= data["data"].keys()
            named = re.findall(r"\$\((\w+)\)", " ".join(container.get("args", ())))
            assert set(named) <= known
