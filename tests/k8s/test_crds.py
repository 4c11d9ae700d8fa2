"""Custom resources fit the schemas of their definitions (`make k8s-schemas` fetches these)."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.k8s.conftest import ROOT, Object, Overlay, rendered
from tests.k8s.test_manifests import CUSTOM

SCHEMAS = ROOT / ".cache" / "k8s-check"


def faults(objects: list[Object]) -> dict[str, list[str]]:
    """Kind/name -> what its schema says against it."""
    if not shutil.which("node"):
        pytest.skip("node is not installed; it validates custom resources")
    if not (SCHEMAS / "node_modules").is_dir():
        pytest.skip("there are no schemas; `make k8s-schemas` fetches them from npm")
    command = ["node", str(ROOT / "k8s" / "check" / "crds.mjs"), str(SCHEMAS)]
    done = subprocess.run(
        command, input=json.dumps(objects), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {each["object"]: each["faults"] for each in json.loads(done.stdout)}


def custom(overlay: Overlay) -> list[Object]:
    return [each for each in overlay.objects if each["apiVersion"] in CUSTOM]


def test_every_custom_resource_fits_its_schema(production: Overlay) -> None:
    found = faults(custom(production))
    assert found
    assert not any(found.values()), found


def broken(kind: str, *path: str | int, value: Any) -> Object:
    for name in ("canary", "gpu-fp16"):
        for each in rendered(name).all(kind):
            changed = copy.deepcopy(each)
            place: Any = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            return changed
    raise AssertionError(kind)


def test_a_broken_one_is_told() -> None:
    """The check itself works: one fault in each kind is found."""
    objects = [
        broken("HTTPRoute", "spec", "rules", 0, "backendRefs", 0, "weight", value="ninety"),
        broken("Gateway", "spec", "listeners", value="http"),
        broken("BackendTrafficPolicy", "spec", "retry", "numRetries", value="x"),
        broken("ScaledObject", "spec", "triggers", 0, value={"metadata": {}}),
        broken("PrometheusRule", "spec", "groups", 0, value={"rules": []}),
        broken("ServiceMonitor", "spec", "endpoints", 0, "interval", value=15),
    ]
    found = faults(objects)
    assert len(found) == len(objects)
    assert all(found.values()), found


def test_a_field_that_is_misspelt_is_told() -> None:
    """The API server would drop it in silence."""
    misspelt = {
        "HTTPRoute": ("spec", "rules", 0, "backendRefs", 0, "wieght"),
        "Gateway": ("spec", "listeners", 0, "portt"),
        "BackendTrafficPolicy": ("spec", "retry", "numRetrys"),
        "ScaledObject": ("spec", "triggers", 0, "metdata"),
        "PrometheusRule": ("spec", "groups", 0, "rules", 0, "foor"),
        "ServiceMonitor": ("spec", "endpoints", 0, "intervall"),
    }
    found = faults([broken(kind, *path, value=1) for kind, path in misspelt.items()])
    assert len(found) == len(misspelt)
    for told, path in zip(found.values(), misspelt.values(), strict=True):
        assert f'"{path[-1]}"\' does not exist' in " ".join(told)


def test_a_kind_that_nobody_knows_is_told() -> None:
    made = {"apiVersion": "keda.sh/v9", "kind": "ScaledObject", "metadata": {"name": "a"}}
    assert faults([made]) == {
        "ScaledObject/a": ["no schema is known for keda.sh/v9 ScaledObject"],
    }
