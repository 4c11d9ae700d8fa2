"""Thousands of requests that are none, or are two things at once, the same for the same seed.

    for case in islice(cases(seed=7), 5000): ...

Each is what one connection sends. Where framing is ambiguous (RFC 9112, section 6.3), a request for
`/hidden` stands where one of the readings has the next request: a server that answers it could be
made to answer what the proxy before it never saw.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

from load_tests.soak.wire import BODY, HEAD, REQUEST, TYPE

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n"
PIECES = (b"\r\n", b"\0", b"\xff" * 9, b" ", b":", b"HTTP/9.9", b"%00", b"a" * 9000, b"\r")
METHODS = (
    b"POST",
    b"GET",
    b"PUT",
    b"post",
    b"P\0ST",
    b"",
    b"A" * 5000,
    b"PRI",
    b"CONNECT",
    b"TRACE",
)
TARGETS = (
    *(b"/classify", b"//classify", b"/classify/", b"/%63lassify", b"/classify%00", b"*", b""),
    *(
        b"/../../etc/passwd",
        b"/..%2f..%2fetc/passwd",
        b"/playground/../app.py",
        b"/?" + b"a" * 9000,
    ),
    *(b"http://elsewhere/classify", b"/classify?x=%ff", b"/\xff\xfe", b"/ classify", b"\\classify"),
)
VERSIONS = (
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.1 ",
    b"http/1.1",
    b"HTTP/",
    b"",
)
HEADERS = (
    *(b"Host: a\r\nHost: b\r\n", b"NoColon\r\n", b": empty\r\n", b"X\0Y: 1\r\n", b"X: a\rb\r\n"),
    *(b"X : space\r\n", b" folded\r\n", b"X: \x80\xff\r\n", b"X:\r\n", b"X: 1\n", b"\tX: 1\r\n"),
    *(b"Expect: 100-continue\r\n", b"Expect: magic\r\n", b"Connection: close, upgrade\r\n"),
    *(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n"),
    *(b"X-Request-Id: " + b"i" * 4000 + b"\r\n", b"X-Request-Timeout-Ms: 99999999999\r\n"),
    *(b"Content-Encoding: gzip\r\n", b"Authorization: Bearer \xff\r\n", b"Range: bytes=0-1\r\n"),
)
SIZES = (
    *(
        b"-1",
        b"0x10",
        b"+5",
        b" 5",
        b"5 ",
        b"FFFFFFFFFFFFFFFFF",
        b"7fffffffffffffff",
        b"g",
        b"",
        b"1e1",
    ),
    *(b"5;" + b"e" * 5000, b'5;a="b', b"5;\0", b"00000000000000005", b"5\n", b"\xb2"),
)
LENGTHS = (
    b"-1",
    b"+5",
    b"0x5",
    b"5, 6",
    b"5 5",
    b"99999999999999999999",
    b"5.0",
    b"",
    b"\xb2",
    b"five",
)
ENCODINGS = (
    *(b"xchunked", b"chunked, identity", b"identity, chunked", b"chunked\0", b"\x0bchunked"),
    *(b"gzip, chunked", b"chunked;q=1", b'"chunked"', b"chunke d", b"identity"),
)


@dataclass(frozen=True)
class Case:
    """kind: which family it is of; data: what is sent"""

    kind: str
    data: bytes


Make = Callable[[random.Random], bytes]


def cases(seed: int) -> Iterator[Case]:
    """Without an end, of every family in turn."""
    rng = random.Random(seed)
    for kind, make in cycle(FAMILIES.items()):
        yield Case(kind, make(rng))


def request_line(rng: random.Random) -> bytes:
    method, target, version = (rng.choice(one) for one in (METHODS, TARGETS, VERSIONS))
    gap = rng.choice((b" ", b" ", b" ", b"  ", b"\t", b""))
    return method + gap + target + gap + version + b"\r\n" + REQUEST.partition(b"\r\n")[2]


def headers(rng: random.Random) -> bytes:
    chosen = rng.sample(HEADERS, rng.randrange(1, 4))
    line, _, rest = REQUEST.partition(b"\r\n")
    return line + b"\r\n" + b"".join(chosen) + rest


def huge_header(rng: random.Random) -> bytes:
    size = rng.choice((16_000, 64_000, 300_000))
    many = b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(size // 12))
    huge = rng.choice((b"X: " + b"a" * size + b"\r\n", b"a" * size + b": x\r\n", many))
    return HEAD + huge + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


def chunks(rng: random.Random) -> bytes:
    cut = rng.randrange(1, len(BODY))
    parts = [b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:cut], BODY[cut:])]
    parts.append(
        rng.choice((b"0\r\n\r\n", b"0\r\nX: trailer\r\n\r\n", b"0\r\n", b"", b"00\r\n\r\n"))
    )
    place = rng.randrange(len(parts))
    damage = rng.randrange(4)
    if damage == 0:
        parts[place] = rng.choice(SIZES) + b"\r\n" + BODY[:5] + b"\r\n"
    elif damage == 1:
        parts[place] = parts[place].replace(b"\r\n", rng.choice((b"\n", b"\r", b"", b"\r\r\n")), 1)
    elif damage == 2:
        parts[place] = b"%x\r\n%s\r\n" % (rng.randrange(1, 10**6), BODY)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(parts)


def conflict(rng: random.Random) -> bytes:
    """Framing of which two readers may think differently."""
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    right = b"Content-Length: %d\r\n" % len(BODY)
    kind = rng.randrange(5)
    if kind == 0:  # by length the hidden request is the next one, by chunks a part of the body
        inner = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
        lengths = b"Content-Length: %d\r\n" % inner.index(HIDDEN)
        lines = [lengths, b"Transfer-Encoding: chunked\r\n"]
        rng.shuffle(lines)
        return HEAD + b"".join(lines) + b"\r\n" + inner
    if kind == 1:  # by chunks it is the next one, by length a part of the body
        lines = [
            b"Content-Length: %d\r\n" % len(chunked + HIDDEN),
            b"Transfer-Encoding: chunked\r\n",
        ]
        rng.shuffle(lines)
        return HEAD + b"".join(lines) + b"\r\n" + chunked + HIDDEN
    if kind == 2:  # two lengths
        lines = [right, b"Content-Length: %d\r\n" % (len(BODY) + len(HIDDEN))]
        rng.shuffle(lines)
        return HEAD + b"".join(lines) + b"\r\n" + BODY + HIDDEN
    if kind == 3:
        return HEAD + b"Content-Length: " + rng.choice(LENGTHS) + b"\r\n\r\n" + BODY + HIDDEN
    coding = b"Transfer-Encoding: " + rng.choice(ENCODINGS) + b"\r\n"
    return HEAD + right + coding + b"\r\n" + chunked + HIDDEN


def pipelined(rng: random.Random) -> bytes:
    count = rng.randrange(2, 12)
    return REQUEST * count + rng.choice((b"", REQUEST[:40], b"\r\n\r\n", b"garbage\r\n\r\n"))


def truncated(rng: random.Random) -> bytes:
    return REQUEST[: rng.randrange(1, len(REQUEST))]


def binary(rng: random.Random) -> bytes:
    made = rng.randbytes(rng.randrange(1, 600))
    prefaces = (
        b"",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    )
    return rng.choice(prefaces) + made


def mutated(rng: random.Random) -> bytes:
    """A request with bytes turned, doubled, cut out or put in."""
    made = bytearray(REQUEST)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(made)) if made else 0
        choice = rng.randrange(4)
        if choice == 0 and made:
            made[at] = rng.randrange(256)
        elif choice == 1:
            made[at:at] = rng.choice(PIECES)
        elif choice == 2:
            del made[at : at + rng.randrange(1, 30)]
        else:
            made[at:at] = made[at:][:40]
    return bytes(made) or b"\0"


def hostile_body(rng: random.Random) -> bytes:
    """An honest frame around a body that is none."""
    made = bytearray(BODY)
    for _ in range(rng.randrange(1, 4)):
        made[rng.randrange(len(made))] = rng.randrange(256)
    body = bytes(made) * rng.choice((1, 1, 1, 200))
    return (
        b"POST /classify HTTP/1.1\r\nHost: test\r\n"
        + TYPE
        + (b"Content-Length: %d\r\n\r\n" % len(body))
        + body
    )


FAMILIES: dict[str, Make] = {
    "request line": request_line,
    "headers": headers,
    "huge header": huge_header,
    "chunks": chunks,
    "conflict": conflict,
    "pipelined": pipelined,
    "truncated": truncated,
    "binary": binary,
    "mutated": mutated,
    "hostile body": hostile_body,
}
