"""The scenes of a rehearsal: what is done to the pods while somebody asks.

In: a stage (rendered overlay, models, rate). Out: a record for each scene: what was sent, what was
lost, and what the scene is about. Nothing is ever retried by the load itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from load_tests.rehearsal.envoy import Envoy
from load_tests.rehearsal.fleet import Fleet
from load_tests.rehearsal.load import Load, loaded, mixed, served
from load_tests.rehearsal.locust_load import LocustLoad
from load_tests.rehearsal.manifests import Deployment, Route
from load_tests.rehearsal.pod import Place, Pod

HEALTHY_S = 3.0  # until the proxy's health checks have seen that too
AGAIN_S = 60.0  # a worker that was killed is back within this time
PLANNED_S = 60.0  # and a new one has measured how its graphs are best called
Record = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """rate: requests a second; lag_s: from a change of the pods until the proxy knows of it
    locust: whether that asks, in place of `load_tests.open_loop`
    """

    deployments: Sequence[Deployment]
    route: Route
    place: Place
    folder: Path
    rate: float
    lag_s: float = 1.0
    seed: int = 0
    locust: bool = False


@dataclass(frozen=True)
class Running:
    """Fleets by service, the proxy in front of them, and a load that waits to be begun."""

    fleets: dict[str, Fleet]
    envoy: Envoy
    load: Load | LocustLoad


@contextmanager
def running(stage: Stage, memory: bool = False) -> Iterator[Running]:
    """All pods of a stage are ready and listed for as long as the block runs.

    memory: keep the peak of the pods, from their first moment
    """
    stage.folder.mkdir(parents=True)
    with ExitStack() as stack:
        envoy = stack.enter_context(Envoy(stage.route, stage.folder))
        fleets = {}
        for deployment in stage.deployments:
            fleet = Fleet(deployment, envoy, stage.place, stage.folder, stage.lag_s)
            stack.callback(fleet.stop)
            if memory:
                stack.enter_context(fleet.memory())
            fleet.scale(deployment.replicas)
            fleet.wait_listed()
            fleets[deployment.service] = fleet
        first = next(iter(fleets.values())).pods[0]
        yield Running(fleets, envoy, _load(stage, envoy.port, served(first.port, stage.place.key)))


def _load(stage: Stage, port: int, models: dict[str, list[str]]) -> Load | LocustLoad:
    """Who asks at that port for these models of each task."""
    key, rate, seed = stage.place.key, stage.rate, stage.seed
    if stage.locust:
        return LocustLoad(port, key, models, rate, stage.folder, seed)
    return Load(port, key, mixed(models, seed), rate, seed)


def plain(deployment: Deployment) -> Route:
    """One service, nothing retried, no health checks: what a drain alone must be enough for."""
    return Route({deployment.service: 1}, timeout_s=40.0)


def rolling(stage: Stage, updates: int, least_s: float = 0.0) -> Record:
    """Every pod of the first deployment is replaced, again and again, for `least_s` at least."""
    with running(stage) as now:
        fleet = now.fleets[stage.deployments[0].service]
        done = 0
        with now.load as load:
            until = time.monotonic() + least_s
            time.sleep(1.0)
            while done < updates or time.monotonic() < until:
                fleet.update()
                done += 1
            fleet.wait_ended()
            time.sleep(1.0)
        return {
            "updates": done,
            "replicas": len(fleet.pods),
            "pods_replaced": len(fleet.ended),
            **load.seen,
            "pods": fleet.exits(),
            "retries": now.envoy.counts(fleet.deployment.service).get("upstream_rq_retry", 0),
        }


def kills(stage: Stage, times: int) -> Record:
    """SIGKILL to the worker of one pod after the other; the next when that one is back.

    As in the image, that ends the container, and it is started again.
    """
    with running(stage) as now:
        fleet = now.fleets[stage.deployments[0].service]
        back_s = []
        with now.load as load:
            time.sleep(1.0)
            for count in range(times):
                began = time.monotonic()
                pod = fleet.pods[count % len(fleet.pods)]
                _wait_back(pod, pod.kill_worker())
                back_s.append(round(time.monotonic() - began, 1))
                time.sleep(HEALTHY_S)
        counts = now.envoy.counts(fleet.deployment.service)
        return {
            "kills": times,
            "restarts": fleet.restarts,
            "replicas": len(fleet.pods),
            **load.seen,
            "retries": counts.get("upstream_rq_retry", 0),
            "back_after_s": {"median": sorted(back_s)[len(back_s) // 2], "max": max(back_s)},
        }


def _wait_back(pod: Pod, killed: int) -> None:
    """Until the pod has another worker that is ready."""
    until = time.monotonic() + AGAIN_S
    while not pod.is_back(killed):
        if time.monotonic() > until:
            raise TimeoutError(f"a worker of {pod.name} was not back after {AGAIN_S:.0f} s")
        time.sleep(0.1)


def weighted(stage: Stage, seconds: float) -> Record:
    """A canary or a shadow: who got how many requests, while the canary is rolled once."""
    with running(stage) as now:
        canary = now.fleets[stage.deployments[-1].service]
        with now.load as load:
            until = time.monotonic() + seconds
            canary.update()
            canary.wait_ended()
            time.sleep(max(0.0, until - time.monotonic()))
        time.sleep(1.0)  # copies have no one who waits for them
        got = {
            service: now.envoy.counts(service).get("upstream_rq_completed", 0)
            for service in now.fleets
        }
        return {
            "weights": stage.route.weights,
            "mirror": stage.route.mirror or None,
            "requests": got,
            **load.seen,
            "pods": {service: fleet.exits() for service, fleet in now.fleets.items()},
        }


def alone(stage: Stage, seconds: float) -> Record:
    """One pod on its own, from its start to its load: the memory that its manifest must ask for.

    A new pod first measures how its graphs are best called (`services.plan`), which takes more than
    serving does. Beside others of its kind it shares pages with them and would seem smaller.
    """
    (deployment,) = stage.deployments
    with running(replace(stage, deployments=[replace(deployment, replicas=1)]), True) as now:
        fleet = now.fleets[deployment.service]
        loaded_mb = fleet.peak_pss_mb
        _wait_planned(fleet)
        planned_mb = fleet.peak_pss_mb
        with now.load as load:
            time.sleep(seconds)
        env = deployment.pod.container.env
        return {
            "variants": env["TRANSFER_VARIANTS"],
            "threads": int(env["TRANSFER_THREADS"]),
            "peaks_mb": {"loaded": round(loaded_mb, 1), "planned": round(planned_mb, 1)},
            "peak_pss_mb": round(fleet.peak_pss_mb, 1),
            **load.seen,
        }


def worst(starts: Sequence[Record]) -> Record:
    """Of several starts of a pod the one that took most memory, and what any of them lost.

    Starts differ by a fifth: what they need at once depends on when which graph is let go.
    """
    most = max(starts, key=lambda start: float(start["peak_pss_mb"]))
    every = [start["peak_pss_mb"] for start in starts]
    return {**most, "peaks_of_starts_mb": every, "lost": sum(start["lost"] for start in starts)}


def _wait_planned(fleet: Fleet) -> None:
    """Until the only pod has a plan for each of its variants."""
    until = time.monotonic() + PLANNED_S
    while time.monotonic() < until:
        rows = loaded(fleet.pods[0].port, fleet.place.key)
        if all((row.get("plan") or {}).get("windows_per_s", 1.0) for row in rows):
            return
        time.sleep(0.5)
    raise TimeoutError(f"{fleet.pods[0].name} had no plans after {PLANNED_S:.0f} s")
