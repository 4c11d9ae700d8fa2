"""Requests as bytes, over sockets that do with them what no HTTP client would.

Used by the parts of the soak, and by the tests of connections.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

BODY = json.dumps({"text": "send money to my account"}).encode()
TYPE = b"Content-Type: application/json\r\n"
HEAD = b"POST /classify HTTP/1.1\r\nHost: test\r\n" + TYPE
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
# Neither ever ends, whatever letters follow: a header, and a body.
BEGUN = (HEAD + b"X-Slow: ", HEAD + b"Content-Length: 5000\r\n\r\n{")
TEXTS, WORDS = 24, 100  # of a request that is expensive
ABORTED_WITHIN_S = 0.03
JSON = {"Content-Type": "application/json"}

# What an answer must never show: traces, and paths of the machine.
LEAK = re.compile(r'Traceback|File "|site-packages|\.py\b|/services/|/usr/|/home/|/root/|/tmp/')
GAUGES = ("transfer_in_flight", "transfer_queue_depth", "transfer_queue_tokens")
IDLE_S = 20.0

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def address_of(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


def connect(url: str, timeout_s: float = 10.0) -> socket.socket:
    made = socket.create_connection(address_of(url), timeout=timeout_s)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def reset(made: socket.socket) -> None:
    """Close with a reset instead of an orderly end."""
    with contextlib.suppress(OSError):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.close()


def read_some(made: socket.socket, first_s: float, next_s: float, most: int = 100_000) -> bytes:
    """What comes: the beginning within `first_s`, and each further piece within `next_s`."""
    found = b""
    made.settimeout(first_s)
    with contextlib.suppress(OSError):
        while len(found) < most and (piece := made.recv(65536)):
            found += piece
            made.settimeout(next_s)
    return found


def statuses(answer: bytes) -> list[int]:
    """The status of every answer in what a connection gave."""
    return [int(status) for status in _STATUS.findall(answer)]


def post(path: str, data: bytes, host: str = "test") -> bytes:
    """A whole POST of JSON, which may be none."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + TYPE + b"\r\n" + data


def get(path: str, host: str = "test") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def ask(url: str, body: bytes = BODY, path: str = "/classify") -> tuple[int, float]:
    """One honest request on a connection of its own: its status, and seconds."""
    began = time.perf_counter()
    made = http.client.HTTPConnection(*address_of(url), timeout=30)
    try:
        made.request("POST", path, body, JSON)
        answer = made.getresponse()
        answer.read()
        return answer.status, time.perf_counter() - began
    finally:
        made.close()


def page(url: str, path: str) -> str:
    """The text of a page; empty when it is not answered with 200."""
    made = http.client.HTTPConnection(*address_of(url), timeout=30)
    try:
        made.request("GET", path)
        answer = made.getresponse()
        text = answer.read().decode("utf-8", "replace")
        return text if answer.status == 200 else ""
    finally:
        made.close()


def gauges(url: str) -> dict[str, float]:
    """What is in flight and waits, as /metrics tells it."""
    return {
        name: float(line.split()[1])
        for line in page(url, "/metrics").splitlines()
        for name in GAUGES
        if line.startswith(name)
    }


def wait_until_idle(url: str, timeout_s: float = IDLE_S) -> dict[str, float]:
    """The gauges, when they are 0 or the time is over."""
    until = time.monotonic() + timeout_s
    while any((seen := gauges(url)).values()) and time.monotonic() < until:
        time.sleep(0.05)
    return seen


def silent(made: socket.socket, wait_s: float = 0.0) -> bool:
    """Whether the server neither answers nor closes the connection for so long."""
    made.settimeout(wait_s)
    try:
        made.recv(1, socket.MSG_PEEK)
    except (TimeoutError, BlockingIOError):
        return True
    except OSError:
        return False
    return False


def expensive(rng: random.Random) -> bytes:
    """A whole request that takes a while: many long texts, none of them equal."""
    words = BODY.decode().split() + [str(number) for number in range(100)]
    texts = [" ".join(rng.choices(words, k=WORDS)) for _ in range(TEXTS)]
    return post("/classify", json.dumps({"text": texts}).encode())


def break_off(url: str, count: int, rng: random.Random) -> int:
    """Requests that nobody waits for; returns how many were whole and had no answer yet.

    About half are cut at any byte; the others are expensive, and left while they wait or run.
    """
    unanswered = 0
    for _ in range(count):
        if rng.random() < 0.5:
            _leave(url, REQUEST[: rng.randrange(1, len(REQUEST))], 0.0, rng)
        else:
            wait_s = rng.uniform(0.0, ABORTED_WITHIN_S)
            unanswered += _leave(url, expensive(rng), wait_s, rng)
    return unanswered


def _leave(url: str, data: bytes, wait_s: float, rng: random.Random) -> bool:
    """Send and go, with a reset or an orderly end; whether no answer had come."""
    with connect(url) as made:
        made.sendall(data)
        unanswered = silent(made, wait_s)
        if rng.random() < 0.5:
            reset(made)
    return unanswered


def begin(url: str, begun: bytes) -> socket.socket:
    """A connection with the beginning of a request."""
    made = connect(url)
    made.sendall(begun)
    return made


@contextmanager
def slow_connections(url: str, each: int) -> Iterator[list[socket.socket]]:
    """`each` connections that never finish their header, then as many that never finish a body."""
    held: list[socket.socket] = []
    try:
        for begun in BEGUN:
            for _ in range(each):
                held.append(begin(url, begun))
        yield held
    finally:
        for made in held:
            made.close()


def drip(url: str, held: list[socket.socket]) -> int:
    """A byte into each slow connection; those that the server has ended are begun again, in place.

    Returns how many those were.
    """
    again = 0
    for number, made in enumerate(held):
        with contextlib.suppress(OSError):
            if silent(made):
                made.send(b"a")
                continue
            made.close()
            held[number] = begin(url, BEGUN[len(BEGUN) * number // len(held)])
            again += 1
    return again
