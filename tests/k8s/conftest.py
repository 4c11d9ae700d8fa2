"""Every overlay, rendered once by `kubectl kustomize`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = sorted(path.parent for path in ROOT.glob("k8s/overlays/*/kustomization.yaml"))


def render(folder: Path) -> list[dict[str, Any]]:
    """The objects of an overlay; fails with kubectl's own words."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed; it renders the overlays")
    command = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # kustomize warns about deprecated fields
    return [document for document in yaml.safe_load_all(done.stdout) if document]


class Overlay:
    """The objects of one overlay by kind, and the parts that most tests ask about."""

    def __init__(self, name: str, objects: list[dict[str, Any]]) -> None:
        self.name = name
        self.objects = objects

    def one(self, kind: str) -> dict[str, Any]:
        """The only object of a kind."""
        (found,) = [each for each in self.objects if each["kind"] == kind]
        return found

    @property
    def deployment(self) -> dict[str, Any]:
        return dict(self.one("Deployment")["spec"])

    @property
    def template(self) -> dict[str, Any]:
        return dict(self.deployment["template"])

    @property
    def pod(self) -> dict[str, Any]:
        return dict(self.template["spec"])

    @property
    def container(self) -> dict[str, Any]:
        (found,) = self.pod["containers"]
        return dict(found)

    @property
    def settings(self) -> dict[str, str]:
        return dict(self.one("ConfigMap")["data"])


@pytest.fixture(scope="session", params=OVERLAYS, ids=lambda path: path.name)
def overlay(request: pytest.FixtureRequest) -> Overlay:
    return Overlay(request.param.name, render(request.param))
