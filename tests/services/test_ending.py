"""How a service ends: what is in flight is answered, proxies see it coming, twice is at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from services.lifecycle import _Draining, _Second, look_often
from tests.services.conftest import Store
from tests.services.server import Server, environment, serving

MANY = {"text": [f"send {number} of my money " * 150 for number in range(1000)]}  # takes a while


@contextmanager
def running(store: Store, folder: Path, **settings: str) -> Iterator[Server]:
    env = environment(store.home, store.lock, TRANSFER_VARIANTS="intent/full", **settings)
    with serving(folder / "log.txt", env) as server:
        server.wait_until_ready()
        yield server


def in_flight(server: Server, count: int = 3) -> tuple[list[threading.Thread], list[Any]]:
    """Requests that are being answered, and what comes of each."""
    found: list[Any] = []

    def ask() -> None:
        try:
            answer = httpx.post(f"{server.url}/classify", json=MANY, timeout=60)
            found.append(answer.status_code)
        except httpx.TransportError as error:
            found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    wait(lambda: f"transfer_in_flight {count}.0" in httpx.get(f"{server.url}/metrics").text)
    return threads, found


def wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_what_is_in_flight_is_answered(store: Store, tmp_path: Path) -> None:
    with running(store, tmp_path) as server:
        threads, found = in_flight(server)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert found == [200] * len(threads)
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.output()


def test_while_it_drains_it_is_not_ready_and_still_answers(store: Store, tmp_path: Path) -> None:
    with running(store, tmp_path, TRANSFER_DRAIN_S="2") as server:
        server.process.send_signal(signal.SIGTERM)
        wait(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
        assert httpx.get(f"{server.url}/livez").status_code == 200
        answer = httpx.post(f"{server.url}/classify", json={"text": "send money"})
        assert answer.status_code == 200
        assert server.process.wait(30) == 0


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_asked_twice_it_ends_at_once(store: Store, tmp_path: Path, ending: signal.Signals) -> None:
    with running(store, tmp_path, TRANSFER_DRAIN_S="600") as server:
        tree = psutil.Process(server.process.pid).children(recursive=True)
        server.process.send_signal(ending)
        wait(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
        server.process.send_signal(ending)
        assert server.process.wait(30) == 128 + ending
        assert not [child for child in tree if alive(child)]


def test_a_worker_that_dies_is_replaced(store: Store, tmp_path: Path) -> None:
    with running(store, tmp_path) as server:
        [worker] = psutil.Process(server.process.pid).children()
        os.kill(worker.pid, signal.SIGKILL)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if httpx.get(f"{server.url}/readyz", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        answer = httpx.post(f"{server.url}/classify", json={"text": "send money"})
        assert answer.status_code == 200
        [other] = psutil.Process(server.process.pid).children()
        assert other.pid != worker.pid


def test_the_supervisor_looks_after_its_workers_every_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """BentoML gives its arbiter ten seconds; what it makes after the hook has one."""
    from bentoml._internal.utils import circus

    made: list[dict[str, Any]] = []

    class Recording:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(kwargs)

    monkeypatch.setattr(circus, "Arbiter", Recording)
    look_often()
    circus.create_standalone_arbiter([])
    assert [one["check_delay"] for one in made] == [1.0]


def test_a_second_signal_ends_the_draining(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    unready: list[bool] = []
    handler = _Draining(600, lambda: unready.append(True), lambda number, _: ended.append(number))
    handler(signal.SIGTERM, None)
    assert (unready, ended) == ([True], [])
    handler(signal.SIGTERM, None)
    assert ended == [signal.SIGTERM]
    _Draining(0, lambda: None, lambda number, _: ended.append(number))(signal.SIGINT, None)
    assert ended == [signal.SIGTERM, signal.SIGINT]


def test_a_worker_that_starts_again_does_not_stack_handlers() -> None:
    first = lambda number, frame: None  # noqa: E731
    assert _Second(_Second(first)).first is first
