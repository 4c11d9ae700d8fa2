"""Everything at once, for as long as one likes: all routes and variants, errors, streams, rudeness.

In: a server's address. Out: how many requests were sent, and every answer that was none of those
expected. A steady open loop asks the routes; beside it a client of bad manners breaks off, leaves
streams, sends bodies that are too large, and bytes that are no request.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from load_tests.arrivals import POISSON, due_times
from load_tests.bodies import ROUTES, zero_shot_labels
from load_tests.mixes import MIXED, bodies_of
from load_tests.open_loop import Generator
from load_tests.soak.cases import cases
from load_tests.soak.wire import (
    HEAD,
    REQUEST,
    address_of,
    break_off,
    connect,
    get,
    page,
    post,
    read_some,
)
from services.schemas import EXAMPLES

CONNECTIONS = 32
RUDE_EVERY_S = 0.2
OF_EACH = 12  # bodies of a variant
EXPECTED = frozenset(f"status {status}" for status in (400, 404, 405, 415, 422, 429))
PAGES = ("/", "/docs", "/docs.json", "/models", "/metrics", "/livez", "/readyz", "/nothing")
WRONG = (
    *(("/classify", body) for body in (b"", b"{", b'{"text": NaN}', b'{"text": ""}', b"[]")),
    ("/classify", b'{"text": "a", "model": "nobody"}'),
    ("/classify", b'{"text": ["fine", "", "\\ud800"]}'),
    ("/qa", b'{"question": "a"}'),
    ("/summarize", b'{"text": "a", "max_sentences": 0}'),
    ("/compare", b'{"task": "qa", "input": {}}'),
    ("/nothing", b"{}"),
)
STREAM = json.dumps({"text": "One thing. Another thing. " * 40, "stream": True}).encode()


@dataclass
class Seen:
    """sent: requests of the steady loop; rude: acts of the other client

    unexpected: answers that no such request should get, with how often
    """

    sent: int = 0
    rude: int = 0
    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)


def mixed_load(url: str, seconds: float, rate: float, seed: int) -> Seen:
    """Ask for so long; returns when the last answer is there."""
    seen = Seen()
    generator = Generator(*address_of(url), CONNECTIONS)
    ended = threading.Event()
    rude = threading.Thread(target=_rude, args=(url, seed, ended, seen), daemon=True)
    rude.start()
    try:
        generator.run(requests(url, seed), due_times(rate, seconds, POISSON, seed))
    finally:
        ended.set()
        rude.join(30)
        generator.close()
    seen.sent, seen.answered = generator.sent, len(generator.latencies_ms)
    for what, count in generator.failures.items():
        (seen.refused if what in EXPECTED else seen.unexpected)[what] += count
    return seen


def requests(url: str, seed: int) -> list[bytes]:
    """One after the other in a seeded order: documented, of every variant, wrong, and pages."""
    documented = [
        post(route, json.dumps(body).encode())
        for route, bodies in EXAMPLES.items()
        for body in bodies
        if not body.get("stream")
    ]
    wrong = [post(route, body) for route, body in WRONG]
    every = [*documented, *_of_variants(url, seed), *wrong, *map(get, PAGES)]
    random.Random(seed).shuffle(every)
    return every


def _of_variants(url: str, seed: int) -> Iterator[bytes]:
    """Bodies for everything that is loaded."""
    rows = json.loads(page(url, "/models") or '{"models": []}')["models"]
    for row in rows:
        if not row["loaded"]:
            continue
        labels = zero_shot_labels() if row["model"] == "zeroshot" else None
        bodies = bodies_of(row["task"], row["model"], MIXED, labels=labels, seed=seed)
        for body in bodies[:OF_EACH]:
            asked: Mapping[str, Any] = {**body, "variant": row["variant"]}
            yield post(ROUTES[row["task"]], json.dumps(asked).encode())


# --- the other client


def _rude(url: str, seed: int, ended: threading.Event, seen: Seen) -> None:
    rng = random.Random(seed)
    nonsense = cases(seed)
    acts: Sequence[Callable[[], object]] = (
        lambda: break_off(url, 1, rng),
        lambda: _stream(url, read_s=5.0),
        lambda: _stream(url, read_s=0.0),
        lambda: _send(url, HEAD + b"Content-Length: 100000000\r\n\r\n"),
        lambda: _send(url, next(nonsense).data),
        lambda: _send(url, REQUEST * 3),
        lambda: _send(url, REQUEST[:-5]),
    )
    while not ended.wait(RUDE_EVERY_S):
        with contextlib.suppress(OSError):
            rng.choice(acts)()
        seen.rude += 1


def _stream(url: str, read_s: float) -> bytes:
    """A stream that is read to its end, or left at once."""
    with connect(url) as made:
        made.sendall(post("/summarize", STREAM))
        return read_some(made, read_s, 0.3) if read_s else b""


def _send(url: str, data: bytes) -> bytes:
    with connect(url) as made:
        made.sendall(data)
        return read_some(made, 0.1, 0.02)
