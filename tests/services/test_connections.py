"""Clients that leave, dawdle or send nonsense, over raw sockets: the others are answered.

What is sent is made by `load_tests.soak`, which sends more of it, and longer.
"""

from __future__ import annotations

import random
import time

import pytest

from load_tests.soak.body import announced, chunked
from load_tests.soak.raw import bombard, failed_inside
from load_tests.soak.wire import ask, break_off, drip, page, slow_connections, wait_until_idle
from tests.services.conftest import Store
from tests.services.server import Server, environment, serving

LIMIT = 200_000  # of the server of these tests
IDLE = {"transfer_in_flight": 0.0, "transfer_queue_depth": 0.0, "transfer_queue_tokens": 0.0}


def test_requests_that_are_broken_off_leave_nothing_behind(server: Server) -> None:
    assert break_off(server.url, 1000, random.Random(11)) > 0, "some were waiting or running"
    assert wait_until_idle(server.url) == IDLE
    assert ask(server.url)[0] == 200


def test_slow_clients_keep_nobody_waiting(server: Server) -> None:
    with slow_connections(server.url, each=200) as held:
        assert len(held) == 400
        assert {ask(server.url)[0] for _ in range(200)} == {200}
        assert page(server.url, "/livez")
    assert wait_until_idle(server.url) == IDLE


def test_slow_clients_that_are_ended_come_back(
    store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Headers and bodies get 408 after a second; a byte every tenth of one does not save them."""
    log = tmp_path_factory.mktemp("impatient") / "log.txt"
    env = environment(store.home, store.lock, TRANSFER_BODY_TIMEOUT_S="1")
    with serving(log, env) as server:
        server.wait_until_ready()
        with slow_connections(server.url, each=10) as held:
            begun = list(held)
            again, until = drip(server.url, held), time.monotonic() + 30
            assert again == 0, "none is ended for what it sends"
            while again < 40 and time.monotonic() < until:
                time.sleep(0.1)
                again += drip(server.url, held)
            assert again >= 40, "each was ended twice"
            assert len(held) == 20 and not set(held) & set(begun)
            assert ask(server.url)[0] == 200
        assert wait_until_idle(server.url) == IDLE


def test_a_body_that_is_too_large_is_refused_while_it_is_sent(server: Server) -> None:
    for upload in (announced, chunked):
        assert upload(server.url, LIMIT)[0] == 413
    assert ask(server.url)[0] == 200


def test_what_is_no_http_does_no_harm(server: Server) -> None:
    seen = bombard(server.url, 600, seed=5)
    assert (seen.cases, seen.faults, seen.unhealthy) == (600, [], 0)
    assert min(seen.kinds.values()) == 60
    assert failed_inside(server.url) == 0
    assert wait_until_idle(server.url) == IDLE
    assert page(server.url, "/readyz")
    assert "Traceback" not in server.output()
