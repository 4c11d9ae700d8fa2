"""The head of a request, over raw sockets: what is too large, too slow or none is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from load_tests.soak.wire import BODY, HEAD, REQUEST, ask, connect, read_some, statuses
from services.protocol import HEAD_BYTES
from tests.services.conftest import Store
from tests.services.server import Server, environment, serving


@pytest.fixture(scope="module")
def impatient(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits for a second."""
    log = tmp_path_factory.mktemp("impatient") / "log.txt"
    env = environment(
        store.home, store.lock, TRANSFER_VARIANTS="intent/full", TRANSFER_BODY_TIMEOUT_S="1"
    )
    with serving(log, env) as server:
        server.wait_until_ready()
        yield server


def answer(server: Server, *parts: bytes) -> tuple[int, dict[str, Any]]:
    """The status and error of what is sent in parts; 0 for a connection that is only closed.

    All of it is sent before anything is read, as ordinary clients do.
    """
    with connect(server.url) as made:
        for part in parts:
            made.sendall(part)
        text = read_some(made, 10.0, 5.0)
    found = statuses(text)
    if not found:
        return 0, {}
    if found[-1] >= 400:
        head = text.rpartition(b"\r\n\r\n")[0].rpartition(b"HTTP/1.1")[2].lower().split(b"\r\n")
        assert {b"x-content-type-options: nosniff", b"cache-control: no-store"} <= set(head)
    return found[-1], dict(json.loads(text.rpartition(b"\r\n\r\n")[2]).get("error", {}))


def test_what_is_no_http_gets_the_uniform_error_body(server: Server) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"hello\r\n\r\n"):
        status, error = answer(server, nonsense)
        assert (status, error["code"]) == (400, "malformed_http")
        assert error["message"] and error["hint"] and error["request_id"]


@pytest.mark.parametrize("line", [b"X-%d: %s\r\n", b"X-%d-%s: 1\r\n"], ids=["values", "names"])
def test_a_header_that_is_too_large_is_refused(server: Server, line: bytes) -> None:
    lines = [line % (number, b"a" * 1000) for number in range(2 * HEAD_BYTES // 1000)]
    status, error = answer(server, HEAD, *lines)
    assert (status, error["code"]) == (431, "header_too_large")


def test_a_line_that_is_too_large_is_refused(server: Server) -> None:
    assert answer(server, b"GET /" + b"a" * 2 * HEAD_BYTES)[0] == 431


def test_a_header_within_the_bound_is_read_and_bodies_do_not_count(server: Server) -> None:
    body = json.dumps({"text": "send " * 20_000}).encode()
    head = HEAD + b"X: " + b"a" * (HEAD_BYTES - 1000) + b"\r\n"
    status, _ = answer(
        server, head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body), body
    )
    assert status == 200


@pytest.mark.parametrize("begun", [HEAD, b"POST /cl", REQUEST + HEAD[:20], b"\r\n"])
def test_a_header_that_does_not_come_is_given_up(impatient: Server, begun: bytes) -> None:
    status, error = answer(impatient, begun)
    assert (status, error["code"]) == (408, "slow_header")


def test_a_connection_on_which_nothing_comes_is_closed(impatient: Server) -> None:
    assert answer(impatient)[0] == 0


def test_an_answer_that_takes_longer_is_not_given_up(impatient: Server) -> None:
    body = json.dumps({"text": [f"send {n} of my money " * 150 for n in range(400)]}).encode()
    status, seconds = ask(impatient.url, body)
    assert status == 200, seconds


def test_many_requests_on_one_connection_are_answered(impatient: Server) -> None:
    with connect(impatient.url) as made:
        for _ in range(3):
            made.sendall(REQUEST)
            assert statuses(read_some(made, 5.0, 0.05)) == [200]
            time.sleep(0.6)
        made.sendall(REQUEST * 4)
        assert statuses(read_some(made, 5.0, 0.5)) == [200] * 4
    assert BODY in REQUEST
