"""What a rendered overlay says about running: pods, probes, times, weights.

In: a folder that `kubectl kustomize` renders. Out: deployments and the route in front of them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.errors import TransferError

Object = dict[str, Any]

DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


class ManifestError(TransferError):
    """An overlay cannot be rendered, or not acted out."""

    code = "manifest"


@dataclass(frozen=True)
class Probe:
    path: str
    port: int
    period_s: float
    timeout_s: float
    failures: int


@dataclass(frozen=True)
class Container:
    """command: of the manifest, empty where the image's entrypoint takes the arguments
    env: in the manifest's order; $(NAME) is what was defined before, $(metadata.name) the pod
    mounts: path in the container -> (volume, folder in it)
    """

    command: tuple[str, ...]
    args: tuple[str, ...]
    env: dict[str, str]
    mounts: dict[str, tuple[str, str]]

    @property
    def port(self) -> int:
        return int(self.args[self.args.index("--port") + 1])


@dataclass(frozen=True)
class PodSpec:
    """secrets: volumes that come from one; grace_s: from the wish to end it until SIGKILL"""

    container: Container
    init: Container | None
    startup: Probe
    readiness: Probe
    liveness: Probe
    pre_stop_s: float
    grace_s: float
    secrets: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Deployment:
    """service: what it is called by; replicas: the least that an autoscaler leaves"""

    name: str
    service: str
    replicas: int
    max_surge: int
    max_unavailable: int
    pod: PodSpec


@dataclass(frozen=True)
class Retry:
    attempts: int
    on: tuple[str, ...]
    statuses: tuple[int, ...]
    base_s: float
    max_s: float


@dataclass(frozen=True)
class HealthCheck:
    path: str
    interval_s: float
    timeout_s: float
    unhealthy: int


@dataclass(frozen=True)
class Route:
    """weights: service -> weight; mirror: who gets a copy"""

    weights: dict[str, int]
    mirror: str = ""
    timeout_s: float = 0.0
    retry: Retry | None = None
    health: HealthCheck | None = None


def render(folder: Path) -> list[Object]:
    """The objects of an overlay; raises ManifestError."""
    if not shutil.which("kubectl"):
        raise ManifestError("kubectl is not on the path; it renders overlays.", "Install it.")
    command = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ManifestError(f"{folder} does not render: {done.stderr.strip()}", "Mend it.")
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def deployments(objects: Sequence[Object]) -> list[Deployment]:
    """Every Deployment, with the Service that selects its pods."""
    return [_deployment(each, objects) for each in objects if each["kind"] == "Deployment"]


def _deployment(manifest: Object, objects: Sequence[Object]) -> Deployment:
    spec, name = manifest["spec"], str(manifest["metadata"]["name"])
    labels = spec["template"]["metadata"]["labels"].items()
    services = [each for each in objects if each["kind"] == "Service"]
    (service,) = [each for each in services if each["spec"]["selector"].items() <= labels]
    rolling = spec["strategy"]["rollingUpdate"]
    return Deployment(
        name=name,
        service=str(service["metadata"]["name"]),
        replicas=_replicas(spec, name, objects),
        max_surge=int(rolling["maxSurge"]),
        max_unavailable=int(rolling["maxUnavailable"]),
        pod=_pod(spec["template"]["spec"], _Around(objects, manifest["metadata"].get("namespace"))),
    )


def _replicas(spec: Object, name: str, objects: Sequence[Object]) -> int:
    for each in objects:
        if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            scaler = each["spec"]
            if scaler["scaleTargetRef"]["name"] == name:
                return int(scaler.get("minReplicas", scaler.get("minReplicaCount")))
    return int(spec.get("replicas", 1))


@dataclass(frozen=True)
class _Around:
    """What a pod's variables may come from."""

    objects: Sequence[Object]
    namespace: str | None

    def settings(self, source: Object) -> dict[str, str]:
        """Of one `envFrom`."""
        wanted = ("ConfigMap", source["configMapRef"]["name"])
        (found,) = [
            each for each in self.objects if (each["kind"], each["metadata"]["name"]) == wanted
        ]
        return dict(found["data"])

    def value(self, variable: Object) -> str:
        """Of one `env`; raises ManifestError for a source that only a cluster has."""
        if "valueFrom" not in variable:
            return str(variable.get("value", ""))
        field = variable["valueFrom"].get("fieldRef", {}).get("fieldPath")
        known = {"metadata.name": "$(metadata.name)", "metadata.namespace": self.namespace}
        if field not in known:
            raise ManifestError(
                f"{variable['name']} comes from {variable['valueFrom']}; known are fieldRefs to "
                f"{' and '.join(known)}.",
                "Give it a value, or teach load_tests/rehearsal/manifests.py its source.",
            )
        return known[field] or "default"


def _pod(spec: Object, around: _Around) -> PodSpec:
    (server,) = spec["containers"]
    prepared = spec.get("initContainers", [])
    ports = {port["name"]: int(port["containerPort"]) for port in server["ports"]}
    startup, readiness, liveness = (
        _probe(server[f"{name}Probe"], ports) for name in ("startup", "readiness", "liveness")
    )
    return PodSpec(
        container=_container(server, around),
        init=_container(prepared[0], around) if prepared else None,
        startup=startup,
        readiness=readiness,
        liveness=liveness,
        pre_stop_s=float(server["lifecycle"]["preStop"]["sleep"]["seconds"]),
        grace_s=float(spec["terminationGracePeriodSeconds"]),
        secrets=frozenset(each["name"] for each in spec["volumes"] if "secret" in each),
    )


def _probe(probe: Object, ports: dict[str, int]) -> Probe:
    asked = probe["httpGet"]
    return Probe(
        str(asked["path"]),
        ports[asked["port"]],
        float(probe["periodSeconds"]),
        float(probe["timeoutSeconds"]),
        int(probe["failureThreshold"]),
    )


def _container(container: Object, around: _Around) -> Container:
    env: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        env |= around.settings(source)
    env |= {each["name"]: around.value(each) for each in container.get("env", ())}
    return Container(
        tuple(container.get("command", ())),
        tuple(container.get("args", ())),
        env,
        {
            mount["mountPath"]: (mount["name"], mount.get("subPath", ""))
            for mount in container["volumeMounts"]
        },
    )


def route(objects: Sequence[Object]) -> Route | None:
    """The first rule of the HTTPRoute, and the policy of Envoy Gateway for it."""
    found = [each for each in objects if each["kind"] == "HTTPRoute"]
    if not found:
        return None
    rule = found[0]["spec"]["rules"][0]
    mirrors = [
        each["requestMirror"]["backendRef"]["name"]
        for each in rule.get("filters", ())
        if each["type"] == "RequestMirror"
    ]
    policies = [each["spec"] for each in objects if each["kind"] == "BackendTrafficPolicy"]
    policy = policies[0] if policies else {}
    return Route(
        weights={each["name"]: int(each.get("weight", 1)) for each in rule["backendRefs"]},
        mirror=mirrors[0] if mirrors else "",
        timeout_s=seconds(rule["timeouts"]["request"]) if "timeouts" in rule else 0.0,
        retry=_retry(policy["retry"]) if "retry" in policy else None,
        health=_health(policy["healthCheck"]["active"]) if "healthCheck" in policy else None,
    )


def _retry(policy: Object) -> Retry:
    wait = policy["perRetry"]["backOff"]
    return Retry(
        int(policy["numRetries"]),
        tuple(policy["retryOn"]["triggers"]),
        tuple(policy["retryOn"]["httpStatusCodes"]),
        seconds(wait["baseInterval"]),
        seconds(wait["maxInterval"]),
    )


def _health(active: Object) -> HealthCheck:
    return HealthCheck(
        str(active["http"]["path"]),
        seconds(active["interval"]),
        seconds(active["timeout"]),
        int(active["unhealthyThreshold"]),
    )


def seconds(text: str) -> float:
    """A duration such as 50ms, 1s or 5m."""
    match = DURATION.fullmatch(text)
    if match is None:
        raise ManifestError(f"{text!r} is no duration.", "Write it like 50ms, 1s or 5m.")
    return float(match[1]) * SECONDS[match[2]]
