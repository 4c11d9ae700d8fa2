"""Clients that leave, dawdle or send nonsense, over raw sockets: the others are answered."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx

from tests.services.server import Server

BODY = json.dumps({"text": "send money to my account"}).encode()
HEAD = b"POST /classify HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


def connect(server: Server) -> socket.socket:
    parts = urlsplit(server.url)
    made = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def gauges(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    names = ("transfer_in_flight", "transfer_queue_depth", "transfer_queue_tokens")
    return {
        name: float(line.split()[1]) for line in lines for name in names if line.startswith(name)
    }


def wait_until_idle(client: httpx.Client) -> None:
    until = time.monotonic() + 20
    while any((seen := gauges(client)).values()):
        assert time.monotonic() < until, seen
        time.sleep(0.05)


def test_requests_that_are_broken_off_leave_nothing_behind(
    server: Server, client: httpx.Client
) -> None:
    rng = random.Random(11)
    for _ in range(1000):
        with connect(server) as made:
            made.sendall(REQUEST[: rng.randrange(1, len(REQUEST) + 1)])
            if rng.random() < 0.5:  # a reset instead of an orderly end
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until_idle(client)
    assert client.post("/classify", content=BODY, headers=JSON).status_code == 200


JSON = {"content-type": "application/json"}


def test_slow_clients_keep_nobody_waiting(server: Server, client: httpx.Client) -> None:
    with ExitStack() as stack:
        for number in range(400):
            made = stack.enter_context(connect(server))
            sent = HEAD[:20] if number % 2 else HEAD + b"Content-Length: 5000\r\n\r\n{"
            made.sendall(sent)
        answers = [
            client.post("/classify", content=BODY, headers=JSON).status_code for _ in range(200)
        ]
        assert answers == [200] * 200
        assert client.get("/livez").status_code == 200
    wait_until_idle(client)


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server: Server) -> None:
    with connect(server) as made:
        made.sendall(HEAD + b"Content-Length: 100000000\r\n\r\n")
        assert made.recv(100).startswith(b"HTTP/1.1 413 ")


def test_chunks_that_become_too_many_are_refused(server: Server) -> None:
    with connect(server) as made:
        made.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(300):
                made.sendall(b"1000\r\n" + b"a" * 4096 + b"\r\n")
        assert made.recv(100).startswith(b"HTTP/1.1 413 ")


def nonsense(rng: random.Random) -> Iterator[bytes]:
    """Requests with bytes turned, doubled, cut out, or none of it a request."""
    pieces = [b"\r\n", b"\0", b"\xff" * 9, b" ", b":", b"HTTP/9.9", b"%00", b"a" * 9000, b"\r"]
    while True:
        made = bytearray(REQUEST)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(made))
            choice = rng.randrange(4)
            if choice == 0:
                made[at] = rng.randrange(256)
            elif choice == 1:
                made[at:at] = rng.choice(pieces)
            elif choice == 2:
                del made[at : at + rng.randrange(1, 30)]
            else:
                made[at:at] = made[rng.randrange(len(made)) :][:40]
        yield bytes(made)
        yield rng.randbytes(rng.randrange(1, 300))


def test_what_is_no_http_does_no_harm(server: Server, client: httpx.Client) -> None:
    cases = nonsense(random.Random(5))
    for number in range(600):
        with connect(server) as made, contextlib.suppress(OSError):
            made.settimeout(0.05)
            made.sendall(next(cases))
            if number % 4 == 0:
                answer = made.recv(4000)
                assert not answer or answer.startswith(b"HTTP/1.1 ")
                assert b"Traceback" not in answer
    wait_until_idle(client)
    assert client.get("/readyz").status_code == 200
    assert client.post("/classify", content=BODY, headers=JSON).status_code == 200
