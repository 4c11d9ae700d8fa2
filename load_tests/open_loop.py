"""Requests at a fixed rate, whether the server keeps up or not: latency as users feel it.

In: a JSON plan on stdin {host, port, path, bodies, rate, seconds, connections, arrivals, seed}.
Out: JSON on stdout {due, seconds (to the last answer), achieved (share of good answers),
latencies_ms (each one), latency_ms and late_ms (percentiles; late: sent after it was due),
refused_ms (of each 429, which is a failure too), without_retry_after (of them), failures,
generator_cpu}. Latency counts from the moment a request was due, so a server that stalls is charged
for every request that had to wait (a closed loop waits with it and hides that: "coordinated
omission", Tene 2013).

With arrivals "closed" every connection sends its next request when it has its answer, for
`seconds`, and what is on its way then is waited for and counted: with large requests that is a good
part of the work, which wrk, that stops at once, leaves out.

One thread sleeps until each request is due and sends it; one reads what comes back. Sleeping in the
kernel is exact to a tenth of a millisecond, where an event loop's timers are to one.

    python -m load_tests.open_loop < plan.json
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from queue import Empty, SimpleQueue
from typing import Any

from load_tests.arrivals import due_times
from load_tests.percentiles import percentiles

GRACE_S = 10.0  # how long answers are waited for after the last request was sent
CLOSED = "closed"
REFUSED = 429
LATE_S = 10.0  # how long the sender waits for a free connection

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def http_request(host: str, path: str, body: Any, key: str = "") -> bytes:
    """A whole POST, keep-alive; key: an API key."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\n" if key else ""
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


@dataclass
class Connection:
    """One keep-alive connection with at most one request on its way; due: when that one was.

    busy: there is one; what the server closes without one is only given back
    """

    sock: socket.socket
    due: float = 0.0
    busy: bool = False
    buffer: bytearray = field(default_factory=bytearray)

    def answer(self) -> int:
        """The status of the answer when all of it has come, else 0."""
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return 0
        length = _LENGTH.search(self.buffer, 0, head)
        if length is None:
            raise ValueError("an answer without Content-Length")
        if len(self.buffer) < head + 4 + int(length.group(1)):
            return 0
        return int(self.buffer[9:12])


class Generator:
    """Sends what is due over a pool of connections and keeps every latency."""

    def __init__(self, host: str, port: int, connections: int) -> None:
        self.latencies_ms: list[float] = []
        self.late_ms: list[float] = []
        self.refused_ms: list[float] = []
        self.without_retry_after = 0
        self.failures: Counter[str] = Counter()
        self.sent = 0
        self.seconds = 0.0
        self._address = (host, port)
        self._free: SimpleQueue[Connection] = SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._sent_all, self._give_up = threading.Event(), threading.Event()
        self._on_their_way = 0
        self._start = 0.0
        self._lock = threading.Lock()
        for _ in range(connections):
            self._free.put(self._connect())

    def _connect(self) -> Connection:
        sock = socket.create_connection(self._address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ, connection)
        return connection

    def run(self, requests: Sequence[bytes], due: Iterable[float]) -> None:
        """Send `requests` in turn at the times `due` and wait for the answers."""
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        self._start = time.perf_counter() + 0.05
        for request, offset in zip(cycle(requests), due, strict=False):
            self._send(request, self._start + offset)
            self.sent += 1
        self._sent_all.set()
        reader.join(GRACE_S)
        self._give_up.set()
        reader.join()
        if missing := self._on_their_way:
            self.failures["no answer in time"] += missing

    def close(self) -> None:
        """Close every connection."""
        for key in list(self._selector.get_map().values()):
            key.data.sock.close()
        self._selector.close()

    def _send(self, request: bytes, due: float) -> None:
        wait_s = due - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        try:
            connection = self._free.get(timeout=LATE_S)
            if connection.sock.fileno() < 0:  # closed while nothing was asked
                connection = self._connect()
        except Empty:
            self.failures["no free connection"] += 1
            return
        except OSError as refused:
            self.failures[repr(refused)[:100]] += 1
            return
        with self._lock:
            connection.due, connection.busy = due, True
            self._on_their_way += 1
        self.late_ms.append(1000 * (time.perf_counter() - due))
        try:
            connection.sock.sendall(request)
        except OSError as error:
            self._lost(connection, error)

    def _read(self) -> None:
        while not self._finished():
            for key, _ in self._selector.select(0.05):
                self._receive(key.data)

    def until(self, seconds: float) -> Iterator[float]:
        """Due at once, again and again, whenever a connection is free, for so long."""
        time.sleep(max(0.0, self._start - time.perf_counter()))
        while time.perf_counter() - self._start < seconds:
            try:
                self._free.put(self._free.get(timeout=LATE_S))
            except Empty:
                self.failures["no free connection"] += 1
                return
            yield time.perf_counter() - self._start

    def _finished(self) -> bool:
        return self._give_up.is_set() or (self._sent_all.is_set() and self._on_their_way == 0)

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(65536)
            connection.buffer += data
            status = connection.answer()
        except (OSError, ValueError) as error:
            self._lost(connection, error)
            return
        if not data:
            self._lost(connection, ConnectionError("the server closed the connection"))
        elif status:
            self._finish(connection, status)

    def _finish(self, connection: Connection, status: int) -> None:
        took_ms = 1000 * (time.perf_counter() - connection.due)
        if 200 <= status < 300:
            self.latencies_ms.append(took_ms)
        else:
            self.failures[f"status {status}"] += 1
        if status == REFUSED:
            self.refused_ms.append(took_ms)
            self.without_retry_after += b"\r\nretry-after: " not in connection.buffer.lower()
        connection.buffer.clear()
        self.seconds = time.perf_counter() - self._start
        with self._lock:
            connection.busy = False
            self._on_their_way -= 1
        self._free.put(connection)

    def _lost(self, connection: Connection, error: Exception) -> None:
        """A request whose connection broke; another connection takes its place."""
        with self._lock:
            if connection.sock.fileno() < 0:
                return
            self._selector.unregister(connection.sock)
            connection.sock.close()
            if not connection.busy:
                return
            self._on_their_way -= 1
        self.failures[repr(error)[:100]] += 1
        try:
            self._free.put(self._connect())
        except OSError as refused:
            self.failures[repr(refused)[:100]] += 1


def drive(plan: dict[str, Any]) -> dict[str, Any]:
    """Run one plan in this process."""
    requests = [http_request(plan["host"], plan["path"], body) for body in plan["bodies"]]
    generator = Generator(plan["host"], plan["port"], plan["connections"])
    if plan["arrivals"] == CLOSED:
        due: Iterable[float] = generator.until(plan["seconds"])
    else:
        due = due_times(plan["rate"], plan["seconds"], plan["arrivals"], plan["seed"])
    cpu = time.process_time()
    try:
        generator.run(requests, due)
    finally:
        generator.close()
    took = max(generator.seconds, 1e-9)
    return {
        "due": generator.sent,
        "seconds": took,
        "achieved": len(generator.latencies_ms) / max(generator.sent, 1),
        "latencies_ms": generator.latencies_ms,
        "latency_ms": percentiles(generator.latencies_ms) if generator.latencies_ms else {},
        "late_ms": percentiles(generator.late_ms) if generator.late_ms else {},
        "refused_ms": generator.refused_ms,
        "without_retry_after": generator.without_retry_after,
        "failures": dict(generator.failures),
        "generator_cpu": (time.process_time() - cpu) / took,
    }


def main() -> None:
    json.dump(drive(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
