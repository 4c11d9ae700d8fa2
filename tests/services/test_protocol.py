"""Heads of requests over raw sockets: too large, too slow or none; and answers in one piece."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import time
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from load_tests.soak.wire import BODY, HEAD, REQUEST, ask, connect, read_some, statuses
from services.protocol import HEAD_BYTES, BoundedProtocol, send_whole
from services.reply import WHOLE
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


class Written:
    """What a connection was given."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
}


def cycle_of(keep_alive: bool = True, **changes: Any) -> tuple[RequestResponseCycle, Written]:
    written = Written()
    options: dict[str, Any] = {
        "scope": {"method": "POST"},
        "transport": written,
        "flow": SimpleNamespace(write_paused=False),
        "logger": logging.getLogger("test"),
        "access_logger": logging.getLogger("test"),
        "access_log": False,
        "default_headers": [(b"server", b"uvicorn")],
        "message_event": asyncio.Event(),
        "expect_100_continue": False,
        "keep_alive": keep_alive,
        "on_response": lambda: None,
    }
    return RequestResponseCycle(**{**options, **changes}), written


@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_whole_answer_is_the_one_that_uvicorn_sends_in_steps(keep_alive: bool) -> None:
    async def main() -> None:
        (whole, at_once), (stepwise, in_steps) = cycle_of(keep_alive), cycle_of(keep_alive)
        assert send_whole(whole, START, b"{}")
        await stepwise.send(dict(START))  # type: ignore[arg-type]
        await stepwise.send({"type": "http.response.body", "body": b"{}"})  # type: ignore[typeddict-item]
        assert at_once.data == in_steps.data != b""
        assert at_once.closed == in_steps.closed == (not keep_alive)
        for name in ("response_started", "response_complete", "waiting_for_100_continue"):
            assert getattr(whole, name) == getattr(stepwise, name)
        assert whole.message_event.is_set()

    asyncio.run(main())


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": {"method": "HEAD"}},
        {"access_log": True},
        {"flow": SimpleNamespace(write_paused=True)},
    ],
    ids=["HEAD", "access log", "a client that does not read"],
)
def test_what_uvicorn_does_more_for_is_left_to_it(changes: dict[str, Any]) -> None:
    cycle, written = cycle_of(**changes)
    assert not send_whole(cycle, START, b"{}")
    assert written.data == b""


def test_two_requests_in_one_packet_are_answered_in_turn(server: Server) -> None:
    with connect(server.url) as made:
        made.sendall(REQUEST + REQUEST)
        text = read_some(made, 10.0, 1.0)
    assert statuses(text) == [200, 200]


def test_a_connection_ends_when_its_client_wants_it(server: Server) -> None:
    request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with connect(server.url) as made:
        made.sendall(request)
        text = b""
        while piece := made.recv(65536):
            text += piece
    assert statuses(text) == [200]
    assert b"\r\nconnection: close\r\n" in text


class Connection(Written):
    """As much of a transport as a protocol asks for."""

    def get_extra_info(self, name: str) -> Any:
        return None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def test_an_answered_request_leaves_nothing_to_the_garbage_collector() -> None:
    """What is only let go by a collection makes these longer: p99 was three times as long."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["extensions"][WHOLE](scope, START, b"{}")

    async def main() -> None:
        config = Config(app, lifespan="off", access_log=False)
        config.load()
        protocol, made = BoundedProtocol(config, ServerState(), {}), Connection()
        protocol.connection_made(made)
        protocol.data_received(REQUEST)
        await asyncio.sleep(0)
        answered = weakref.ref(protocol.cycle)
        protocol.data_received(REQUEST)
        for _ in range(3):
            await asyncio.sleep(0)
        assert statuses(made.data) == [200, 200]
        assert answered() is None
        protocol.connection_lost(None)

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
