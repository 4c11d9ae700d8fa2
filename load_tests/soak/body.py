"""Bodies that are too large, announced or in chunks: refused at once, and never held in memory.

In: a server with the default limit. Out: milliseconds to the 413, and how much memory rose.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator

from load_tests.sampler import Sampler
from load_tests.server import serving, wait_planned
from load_tests.soak.plan import Plan, Row, Say, figure
from load_tests.soak.wire import HEAD, ask, connect, statuses
from services.settings import Settings

Upload = Callable[[str], tuple[int, float]]

LIMIT = Settings.max_body_bytes
TIMES = 5  # the limit: what is sent
PIECE = 65536
MOST_MS, MOST_MB = 200.0, 20.0
EVERY_S = 0.05
REST_S = 1.0


def announced(url: str, limit: int = LIMIT) -> tuple[int, float]:
    """Status and milliseconds from the header, which says how long the body is."""
    size = TIMES * limit
    head = HEAD + b"Content-Length: %d\r\n\r\n" % size
    return _upload(url, head, (b"a" * PIECE for _ in range(size // PIECE)), 0)


def chunked(url: str, limit: int = LIMIT) -> tuple[int, float]:
    """Status and milliseconds from the chunk that passes the limit."""
    chunk = b"%x\r\n" % PIECE + b"a" * PIECE + b"\r\n"
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    return _upload(url, head, (chunk for _ in range(TIMES * limit // PIECE)), limit)


def _upload(url: str, head: bytes, pieces: Iterator[bytes], allowed: int) -> tuple[int, float]:
    """Send as ordinary clients do: all of it, while the answer is read."""
    passed: list[float] = []

    def send() -> None:
        sent = 0
        with contextlib.suppress(OSError):
            if not allowed:
                passed.append(time.perf_counter())
            made.sendall(head)
            for piece in pieces:
                sent += PIECE
                if sent > allowed and not passed:
                    passed.append(time.perf_counter())
                made.sendall(piece)

    answer = b""
    with connect(url) as made:
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        with contextlib.suppress(OSError):
            answer = made.recv(65536)
        took_ms = 1000 * (time.perf_counter() - passed[0]) if passed else float("inf")
        sender.join()
    found = statuses(answer)
    return found[0] if found else 0, took_ms


def measure(plan: Plan, say: Say) -> Row:
    """The part of the soak."""
    with serving(plan.variants or ("intent",), env=plan.env) as server:
        wait_planned(server)  # which takes memory of its own
        for _ in range(20):
            ask(server.url)
        rows = [
            part
            for name, upload in (("announced", announced), ("chunked", chunked))
            for part in _one(name, upload, server.url, server.pid, plan.bodies)
        ]
        after = ask(server.url)[0]
    return {"figures": [*rows, figure("status of a healthy request after", after)]}


def _one(name: str, upload: Upload, url: str, pid: int, count: int) -> list[Row]:
    with Sampler(pid, EVERY_S) as sampler:
        time.sleep(REST_S)
        began = time.monotonic()
        seen = [upload(url) for _ in range(count)]
    before = statistics.median(s.pss_mb for s in sampler.samples if s.t <= began)
    rise = max(s.pss_mb for s in sampler.samples) - before
    wrong = sum(status != 413 for status, _ in seen)
    slowest = max(ms for _, ms in seen)
    size = f"{TIMES * LIMIT / 1e6:.0f} MB, {name}"
    return [
        figure(f"{size}: other than 413", wrong, f"of {count}", target="0", reached=not wrong),
        figure(f"{size}: slowest 413", slowest, "ms", target="< 200 ms", reached=slowest < MOST_MS),
        figure(f"{size}: PSS rise", rise, "MB", target="< 20 MB", reached=rise < MOST_MB),
    ]
