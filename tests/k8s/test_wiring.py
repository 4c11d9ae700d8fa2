"""Names, ports, labels, paths and times of an overlay fit each other and the live service."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from services.settings import Settings
from tests.k8s.conftest import ROOT, Overlay, Workload, rendered

RUNBOOK = ROOT / "docs" / "operations.md"
PROBES = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def selected(overlay: Overlay, selector: dict[str, str]) -> list[Workload]:
    return [each for each in overlay.workloads if each.has(selector)]


def test_every_selector_of_a_workload_finds_its_own_pods_alone(overlay: Overlay) -> None:
    for server in overlay.servers:
        assert selected(overlay, server.spec["selector"]["matchLabels"])[0].name == server.name
        assert len(selected(overlay, server.spec["selector"]["matchLabels"])) == 1
        for spread in server.pod["topologySpreadConstraints"]:
            assert server.has(spread["labelSelector"]["matchLabels"])


def test_every_other_selector_finds_pods(overlay: Overlay) -> None:
    for service in overlay.all("Service"):
        assert len(selected(overlay, service["spec"]["selector"])) == 1
    for budget in overlay.all("PodDisruptionBudget"):
        assert len(selected(overlay, budget["spec"]["selector"]["matchLabels"])) == 1
    for policy in overlay.all("NetworkPolicy"):
        assert selected(overlay, policy["spec"]["podSelector"]["matchLabels"])


@pytest.mark.parametrize("before", ["cpu-int8", "gpu-fp16"])
@pytest.mark.parametrize("after", ["canary", "shadow"])
def test_what_runs_and_the_tracks_beside_it_do_not_mix(before: str, after: str) -> None:
    """Two budgets for a pod forbid its eviction; a Service would send to the candidate's pods."""
    for one, other in ((before, after), (after, before)):
        for selector in selectors(rendered(one)):
            assert not selected(rendered(other), selector)


def selectors(overlay: Overlay) -> list[dict[str, str]]:
    """Those of Services, budgets, and Deployments, whose autoscalers count by them."""
    wider = [*overlay.all("PodDisruptionBudget"), *overlay.all("Deployment")]
    return [
        *(each["spec"]["selector"] for each in overlay.all("Service")),
        *(each["spec"]["selector"]["matchLabels"] for each in wider),
    ]


def test_the_runbook_takes_away_what_the_tracks_replace() -> None:
    """What only cpu-int8 has; what both have is shared, and stays."""
    (command,) = re.findall(
        r"^ *kubectl delete ((?:.+\\\n)*.+)$", RUNBOOK.read_text(), re.MULTILINE
    )
    taken = {word for word in command.split() if "/" in word}
    before, after = (
        {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in rendered(name).objects}
        for name in ("cpu-int8", "shadow")
    )
    kept = {each for each in before - after if each.startswith("configmap/transfer-settings-")}
    assert taken == before - after - kept


def test_every_port_of_a_service_is_a_port_of_its_pods(overlay: Overlay) -> None:
    for service in overlay.all("Service"):
        (workload,) = selected(overlay, service["spec"]["selector"])
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in workload.ports


def test_every_port_that_is_let_in_exists(overlay: Overlay) -> None:
    for policy in overlay.all("NetworkPolicy"):
        found = selected(overlay, policy["spec"]["podSelector"]["matchLabels"])
        named = [
            port for rule in policy["spec"].get("ingress", ()) for port in rule.get("ports", ())
        ]
        known = {name for workload in found for name in workload.ports}
        assert {port["port"] for port in named} <= known


def test_the_server_listens_where_its_ports_say(serving: Overlay) -> None:
    for server in serving.servers:
        arguments = server.container["args"]
        assert arguments[arguments.index("--port") + 1] == str(server.ports["http"])
        settings = Settings.from_environment(server.settings)
        assert server.ports.get("metrics", "open") == settings.metrics


def test_probes_ask_the_right_routes(serving: Overlay) -> None:
    for server in serving.servers:
        for probe, path in PROBES.items():
            assert server.container[probe]["httpGet"] == {"path": path, "port": "http"}


@pytest.mark.parametrize("path", sorted(set(PROBES.values())))
def test_the_live_service_answers_its_probes(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_starting_may_take_longer_than_living_may_fail(serving: Overlay) -> None:
    for server in serving.servers:
        startup, live = server.container["startupProbe"], server.container["livenessProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 120
        assert live["periodSeconds"] * live["failureThreshold"] >= 30
        assert live["timeoutSeconds"] > server.container["readinessProbe"]["timeoutSeconds"]


def test_the_settings_are_accepted_by_the_service(serving: Overlay) -> None:
    known = {f"TRANSFER_{name.upper()}" for name in Settings.__dataclass_fields__}
    for server in serving.servers:
        assert server.settings.keys() <= known
        Settings.from_environment(server.settings)


def test_a_changed_setting_rolls_the_pods(overlay: Overlay) -> None:
    for workload in overlay.workloads:
        (source,) = workload.container["envFrom"]
        suffix = source["configMapRef"]["name"].rpartition("-")[2]
        assert len(suffix) == 10, "the name has no hash of the content"


def test_the_grace_period_outlasts_the_drain_and_what_is_in_flight(serving: Overlay) -> None:
    for server in serving.servers:
        wait_s = server.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        settings = Settings.from_environment(server.settings)
        assert settings.drain_s > 0
        needed_s = wait_s + settings.drain_s + settings.timeout_s
        assert server.pod["terminationGracePeriodSeconds"] > needed_s


def test_an_ending_pod_waits_until_its_readiness_could_be_seen(serving: Overlay) -> None:
    for server in serving.servers:
        ready = server.container["readinessProbe"]
        wait_s = server.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert wait_s >= ready["periodSeconds"]


def test_what_runs_fits_the_hardware(serving: Overlay) -> None:
    for server in serving.servers:
        settings = Settings.from_environment(server.settings)
        gpu = settings.provider == "cuda"
        assert ("nvidia.com/gpu" in server.container["resources"]["limits"]) == gpu
        variants = [name.split("/")[-1] for name in settings.variants]
        assert all(name.endswith("-fp16" if gpu else "-int8") for name in variants)


@pytest.fixture(params=["canary", "shadow"])
def delivering(request: pytest.FixtureRequest) -> Overlay:
    """Those whose models come from an image of their own."""
    return rendered(request.param)


def test_models_are_delivered_where_the_server_looks_for_them(delivering: Overlay) -> None:
    for server in delivering.servers:
        (models,) = server.pod["initContainers"]
        _, target = models["args"]
        assert models["envFrom"] == server.container["envFrom"], "the same TRANSFER_VARIANTS"
        assert {"name": "models", "mountPath": target} in models["volumeMounts"]
        assert server.settings["TRANSFER_LOCK"] == f"{target}/variants.lock.json"
        store = {each["mountPath"]: each for each in server.container["volumeMounts"]}
        assert store[f"{server.variables['BENTOML_HOME']}/models"]["subPath"] == "models"


def routes(overlay: Overlay) -> Iterator[dict[str, object]]:
    for route in overlay.all("HTTPRoute"):
        yield from route["spec"]["rules"]


def test_routes_lead_to_services_that_exist(production: Overlay) -> None:
    for rule in routes(production):
        named = list(rule["backendRefs"])  # type: ignore[call-overload]
        for each in rule.get("filters", ()):  # type: ignore[attr-defined]
            named.append(each["requestMirror"]["backendRef"])
        for backend in named:
            service = production.named("Service", backend["name"])
            assert backend["port"] in {port["port"] for port in service["spec"]["ports"]}


def test_the_canary_gets_a_tenth_and_the_shadow_a_copy() -> None:
    (canary,) = routes(rendered("canary"))
    backends = canary["backendRefs"]
    assert [(each["name"], each["weight"]) for each in backends] == [  # type: ignore[attr-defined]
        ("transfer-stable", 90),
        ("transfer-canary", 10),
    ]
    (shadow,) = routes(rendered("shadow"))
    assert [each["name"] for each in shadow["backendRefs"]] == ["transfer-stable"]  # type: ignore[attr-defined]
    (mirror,) = shadow["filters"]  # type: ignore[misc]
    assert mirror["type"] == "RequestMirror"
    assert mirror["requestMirror"]["backendRef"]["name"] == "transfer-canary"


def test_the_sides_of_the_canary_differ_in_their_models() -> None:
    stable, canary = (
        next(each for each in rendered("canary").servers if each.name == f"transfer-{side}")
        for side in ("stable", "canary")
    )
    assert "full-int8" in stable.settings["TRANSFER_VARIANTS"]
    assert "distilled-int8" in canary.settings["TRANSFER_VARIANTS"]
    assert stable.container["image"] == canary.container["image"]


def test_the_gateway_waits_longer_than_the_service() -> None:
    for name in ("canary", "shadow"):
        (rule,) = routes(rendered(name))
        seconds = float(rule["timeouts"]["request"].removesuffix("s"))  # type: ignore[index]
        for server in rendered(name).servers:
            assert seconds > Settings.from_environment(server.settings).timeout_s


def test_the_gateway_asks_for_readiness_and_does_not_retry_what_was_refused() -> None:
    policy = rendered("canary").one("BackendTrafficPolicy")["spec"]
    (target,) = policy["targetRefs"]
    assert rendered("canary").named(target["kind"], target["name"])
    assert policy["healthCheck"]["active"]["http"]["path"] == PROBES["readinessProbe"]
    assert 429 not in policy["retry"]["retryOn"]["httpStatusCodes"]


def test_workers_find_the_master_and_are_as_many_as_it_expects() -> None:
    overlay = rendered("loadtest")
    master, worker = sorted(overlay.workloads, key=lambda each: each.name)
    arguments = master.container["args"]
    (expected,) = [each for each in arguments if each.startswith("--expect-workers=")]
    assert int(expected.partition("=")[2]) == worker.spec["completions"]
    assert worker.spec["parallelism"] == worker.spec["completions"]
    (host,) = [each for each in worker.container["args"] if each.startswith("--master-host=")]
    assert overlay.one("Service")["metadata"]["name"] == host.partition("=")[2]


def test_the_load_test_asks_a_service_that_the_serving_overlays_bring() -> None:
    (data,) = [each["data"] for each in rendered("loadtest").all("ConfigMap")]
    service = rendered("cpu-int8").named("Service", data["LOCUST_HOST"].removeprefix("http://"))
    assert service["spec"]["ports"]


def test_processes_of_a_training_meet_at_the_first_pod() -> None:
    overlay = rendered("train")
    (job,) = overlay.workloads
    service = overlay.one("Service")["metadata"]["name"]
    assert job.pod["subdomain"] == service
    arguments = job.container["args"]
    assert f"--master-addr={job.name}-0.{service}" in arguments
    assert f"--nnodes={job.spec['completions']}" in arguments
    assert f"--master-port={job.ports['rendezvous']}" in arguments
