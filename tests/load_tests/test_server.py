from __future__ import annotations

import json
import time
import urllib.request

import psutil
import pytest

from load_tests.server import Server, ServerError, free_port, started, wait_planned
from tests.load_tests.conftest import tiny_command


def child_of(server: Server) -> int:
    with urllib.request.urlopen(f"{server.url}/child", timeout=5) as answer:
        return int(json.load(answer))


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_server_is_ready_inside_the_block_and_gone_with_its_children_after_it() -> None:
    port = free_port()
    with started(tiny_command(port), port, env={}, timeout_s=20) as server:
        child = child_of(server)
        assert server.cold_start_s > 0
        assert server.pss_mb() > 5
        assert "first line" in server.log_tail()
    assert is_gone(server.pid)
    assert is_gone(child)


def test_a_server_that_ends_early_is_reported_with_its_last_words() -> None:
    port = free_port()
    with (
        pytest.raises(ServerError, match="exit code 1") as caught,
        started(tiny_command(port, "crash"), port, env={}, timeout_s=20),
    ):
        pass
    assert "intent/full has no graph" in caught.value.message


def test_a_server_that_never_gets_ready_is_given_up_and_stopped() -> None:
    port = free_port()
    with (
        pytest.raises(ServerError, match="within 1 s") as caught,
        started(tiny_command(port, "never-ready"), port, env={}, timeout_s=1),
    ):
        pass
    assert "the first line of the log" in caught.value.message


def test_a_failing_block_stops_the_server_too() -> None:
    port = free_port()
    with (
        pytest.raises(ZeroDivisionError),
        started(tiny_command(port), port, env={}, timeout_s=20) as server,
    ):
        raise ZeroDivisionError
    assert is_gone(server.pid)


def test_a_server_is_waited_for_until_its_plans_are_measured() -> None:
    port = free_port()
    with started(tiny_command(port), port, env={}, timeout_s=20) as server:
        wait_planned(server, every_s=0.01)
        with urllib.request.urlopen(f"{server.url}/models", timeout=5) as answer:
            assert json.load(answer)["models"][0]["plan"]["windows_per_s"] == 2


def test_plans_that_are_never_measured_are_given_up() -> None:
    port = free_port()
    with (
        started(tiny_command(port, "never-planned"), port, env={}, timeout_s=20) as server,
        pytest.raises(ServerError, match="intent/full had no measured plan after 0 s"),
    ):
        wait_planned(server, timeout_s=0.1, every_s=0.05)
