"""A pod is started, probed, started again and ended as the kubelet does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from load_tests.rehearsal.manifests import Deployment
from load_tests.rehearsal.pod import Place, Pod, backoff_s
from load_tests.server import ServerError

SOON_S = 20.0


@pytest.fixture
def pod(deployed: Callable[..., Deployment], place: Place, tmp_path: Path) -> Iterator[Pod]:
    made = Pod("transfer-1", deployed().pod, place, tmp_path / "pod")
    made.folder.mkdir()
    yield made
    made.end_at_once()


def soon(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + SOON_S
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


def test_a_container_whose_worker_was_killed_is_started_again(pod: Pod) -> None:
    pod.start()
    pod.wait_ready()
    before, killed = pod.pid, pod.kill_worker()
    assert soon(lambda: pod.is_back(killed))
    assert pod.pid != before, "the supervisor ended too, as it does in a container"
    assert (pod.restarts, pod.ready, pod.exit_code) == (1, True, None)
    assert pod.liveness_failures == 0


def test_a_pod_is_not_ready_until_its_container_is_back(pod: Pod) -> None:
    seen: list[bool] = []
    pod.changed = lambda: seen.append(pod.ready)
    pod.start()
    pod.wait_ready()
    killed = pod.kill_worker()
    assert soon(lambda: pod.is_back(killed))
    assert seen == [True, False, True]


def test_one_that_shall_end_is_not_started_again(pod: Pod) -> None:
    pod.start()
    pod.wait_ready()
    pod.stop()
    assert (pod.exit_code, pod.killed, pod.restarts) == (0, False, 0)


def test_one_that_ends_before_it_is_ready_is_told_with_its_last_lines(pod: Pod) -> None:
    container = pod.spec.container
    failing = replace(container, env={**container.env, "STUB_FAILS": "1"})
    pod.spec = replace(pod.spec, container=failing)
    pod.start()
    with pytest.raises(ServerError, match="this stub never starts"):
        pod.wait_ready()


def test_a_container_that_never_serves_is_started_later_and_later() -> None:
    waits = [backoff_s(crashes) for crashes in range(9)]
    assert waits == [0.0, 0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
