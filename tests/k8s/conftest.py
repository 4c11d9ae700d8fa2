"""Every overlay, rendered once by `kubectl kustomize`, and the parts of it that tests ask about."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.services.conftest import client as client
from tests.services.conftest import server as server
from tests.services.conftest import store as store

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = sorted(path.parent for path in ROOT.glob("k8s/overlays/*/kustomization.yaml"))
PRODUCTION = ("cpu-int8", "gpu-fp16", "canary", "shadow")
SERVING = (*PRODUCTION, "dev")

Object = dict[str, Any]


def render(folder: Path) -> list[Object]:
    """The objects of an overlay; fails with kubectl's own words."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed; it renders the overlays")
    command = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # kustomize warns about deprecated fields
    return [document for document in yaml.safe_load_all(done.stdout) if document]


class Workload:
    """A Deployment or a Job with its pod, and the settings that its container gets."""

    def __init__(self, overlay: Overlay, manifest: Object) -> None:
        self.overlay, self.manifest = overlay, manifest
        self.name = str(manifest["metadata"]["name"])
        self.spec: Object = manifest["spec"]
        self.template: Object = self.spec["template"]
        self.pod: Object = self.template["spec"]
        self.labels: dict[str, str] = self.template["metadata"]["labels"]

    @property
    def container(self) -> Object:
        (found,) = self.pod["containers"]
        return dict(found)

    @property
    def containers(self) -> list[Object]:
        """Those that prepare the pod too."""
        return [*self.pod.get("initContainers", ()), *self.pod["containers"]]

    @property
    def settings(self) -> dict[str, str]:
        (source,) = self.container["envFrom"]
        return dict(self.overlay.named("ConfigMap", source["configMapRef"]["name"])["data"])

    @property
    def variables(self) -> dict[str, str]:
        """Those of the container that the manifest gives a value itself."""
        return {each["name"]: each["value"] for each in self.container["env"] if "value" in each}

    @property
    def ports(self) -> dict[str, int]:
        return {each["name"]: each["containerPort"] for each in self.container.get("ports", ())}

    def has(self, selector: dict[str, str]) -> bool:
        """Whether a selector finds the pods."""
        return bool(selector) and selector.items() <= self.labels.items()


class Overlay:
    """The objects of one overlay by kind."""

    def __init__(self, name: str, objects: list[Object]) -> None:
        self.name, self.objects = name, objects

    def all(self, kind: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str) -> Object:
        (found,) = self.all(kind)
        return found

    def named(self, kind: str, name: str) -> Object:
        (found,) = [each for each in self.all(kind) if each["metadata"]["name"] == name]
        return found

    @property
    def servers(self) -> list[Workload]:
        return [Workload(self, each) for each in self.all("Deployment")]

    @property
    def workloads(self) -> list[Workload]:
        return [*self.servers, *(Workload(self, each) for each in self.all("Job"))]


@functools.cache
def rendered(name: str) -> Overlay:
    return Overlay(name, render(ROOT / "k8s" / "overlays" / name))


@pytest.fixture(params=[path.name for path in OVERLAYS])
def overlay(request: pytest.FixtureRequest) -> Overlay:
    """Each overlay."""
    return rendered(request.param)


@pytest.fixture(params=SERVING)
def serving(request: pytest.FixtureRequest) -> Overlay:
    """Each overlay that holds the server."""
    return rendered(request.param)


@pytest.fixture(params=PRODUCTION)
def production(request: pytest.FixtureRequest) -> Overlay:
    return rendered(request.param)
