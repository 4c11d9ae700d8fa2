"""Requests at a fixed rate: when they are due, and who is charged for a server that stalls."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from load_tests.open_loop import Connection, Generator, drive, http_request
from load_tests.server import Server, free_port, started
from tests.load_tests.conftest import tiny_command


def plan(server: Server, **changes: Any) -> dict[str, Any]:
    address = urlsplit(server.url)
    base = {"host": address.hostname, "port": address.port, "path": "/classify"}
    base |= {"bodies": [{"text": "a"}], "rate": 100.0, "seconds": 1.0, "connections": 4}
    return {**base, "arrivals": "constant", "seed": 0, **changes}


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200),
        (b"HTTP/1.1 429 Too Many Requests\r\ncontent-length:2\r\n\r\n{}", 429),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Le", 0),
    ],
)
def test_an_answer_is_whole_when_its_length_is_there(received: bytes, status: int) -> None:
    connection = Connection(sock=None)  # type: ignore[arg-type]
    connection.buffer += received
    assert connection.answer() == status


def test_a_request_says_how_long_its_body_is() -> None:
    head, _, body = http_request("h", "/classify", {"text": "é"}).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_every_request_that_was_due_is_sent_and_counted(tiny_server: Server) -> None:
    seen = drive(plan(tiny_server))
    assert seen["due"] == len(seen["latencies_ms"]) == 100
    assert (seen["achieved"], seen["failures"]) == (1.0, {})
    assert 0 < seen["latency_ms"]["p50"] <= seen["latency_ms"]["p99"]


def test_a_closed_loop_waits_for_what_it_sent_and_counts_it(tiny_server: Server) -> None:
    seen = drive(plan(tiny_server, arrivals="closed", seconds=0.5))
    assert seen["due"] == len(seen["latencies_ms"]) > 10
    assert seen["seconds"] >= 0.4
    assert seen["failures"] == {}


def test_refusals_are_failures(tiny_server: Server) -> None:
    seen = drive(plan(tiny_server, path="/summarize", rate=20.0))
    assert seen["failures"] == {"status 429": 10}
    assert seen["achieved"] == 0.5


def test_a_connection_that_is_closed_while_idle_is_no_failure(tiny_server: Server) -> None:
    """Servers close what was idle for some seconds; the next request has another connection."""
    address = urlsplit(tiny_server.url)
    generator = Generator(address.hostname or "", address.port or 0, 3)
    for key in list(generator._selector.get_map().values()):
        key.data.sock.shutdown(socket.SHUT_RDWR)
    request = http_request("h", "/classify", {"text": "a"})
    generator.run([request], [0.2 + number / 50 for number in range(10)])
    generator.close()
    assert len(generator.latencies_ms) == 10
    assert generator.failures == {}


def test_a_stalled_server_is_charged_for_all_that_were_due_meanwhile() -> None:
    """One client that waits for each answer would have seen a single slow one."""
    port = free_port()
    with started(tiny_command(port), port, env={}, timeout_s=20) as server:
        seen: dict[str, Any] = {}
        runner = threading.Thread(target=lambda: seen.update(drive(plan(server, seconds=3.0))))
        runner.start()
        time.sleep(1.0)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(server.pid, signal.SIGCONT)
        runner.join()
    slow = [one for one in seen["latencies_ms"] if one > 100]
    assert len(slow) >= 20
    assert max(slow) >= 400
    assert seen["failures"] == {}
