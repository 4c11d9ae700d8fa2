"""Bodies that no honest client sends: broken JSON, wrong types, strange text, at every place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from services.examples import EXAMPLES
from services.schemas import ROUTES

STRANGE_TEXTS = [
    "",
    " ",
    "\t\n\r",
    "\x00",
    "a\x00b",
    "\u200b\u200b",
    "\ufeff",
    "\u202egnp.exe",
    "مرحبا بالعالم",
    "e" + "\u0301" * 500,
    "👩‍👩‍👧‍👦" * 50,
    "\U0010ffff",
    "\ufffd",
    "<script>alert(1)</script>",
    "'; DROP TABLE models; --",
    "../../../../etc/passwd",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "%s%n%x",
    "[CLS] [SEP] [PAD] [MASK] [UNK]",
    "a" * 50_000,
    "a " * 5_000,
    "\u2028\u2029",
    "\U0001d4b3" * 300,
]
WRONG_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    -(10**400),
    [],
    {},
    [[]],
    [None],
    [1, "a"],
    {"text": "a"},
    "9" * 400,
    [""],
    ["a", ["b"]],
]
BROKEN = [
    b"",
    b" ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"true",
    b"0",
    b'"text"',
    b"[]",
    b"[{}]",
    b"{}",
    b'{"text"}',
    b'{"text":}',
    b'{"text":"a",}',
    b'{"text":"a"}}',
    b'{"text":"a"}{"text":"b"}',
    b'{"text":"a"} garbage',
    b"{'text':'a'}",
    b'{text:"a"}',
    b'{"text":"a" "model":"b"}',
    b'{"text":"a"/* comment */}',
    b'{"text":"unterminated',
    b'{"text":"\\x41"}',
    b'{"text":"\\u12"}',
    b'{"text":"\\ud800"}',
    b'{"text":"\\udc00\\ud800"}',
    b'{"text":"line\nbreak"}',
    b'{"text":"nul\x00byte"}',
    b'{"text":NaN}',
    b'{"text":Infinity}',
    b'{"text":-Infinity}',
    b'{"text":"a","top_k":1e400}',
    b'{"text":"a","top_k":01}',
    b'{"text":"a","top_k":+1}',
    b'{"text":"a","top_k":0x10}',
    b'{"text":"a","text":"b"}',
    b'{"__proto__":{"text":"a"},"text":"a"}',
    b'{"":""}',
    b'{"text":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b'{"input":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"text":"' + b"\xff\xfe\xfa" + b'"}',
    b'{"text":"\xc0\xaf"}',
    b'{"text":"\xed\xa0\x80"}',
    b'{"text":"\xf4\x90\x80\x80"}',
    b"\xef\xbb\xbf" + b'{"text":"a"}',
    '{"text":"a"}'.encode("utf-16"),
    '{"text":"a"}'.encode("utf-32"),
    b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix",  # a pickle
    b"--boundary\r\nContent-Disposition: form-data; name=text\r\n\r\na\r\n--boundary--",
    b"text=a&model=intent",
    b"<xml><text>a</text></xml>",
    bytes(range(256)),
    b"\x00" * 1000,
]


def bodies(route: str) -> Iterator[bytes]:
    """More than 200 of them for each route."""
    yield from BROKEN
    example = next(body for body in EXAMPLES[route] if not body.get("stream"))
    places = [*_places(example), *((name,) for name in ROUTES[route].__struct_fields__)]
    for place in places:
        for value in WRONG_VALUES:
            yield _encoded(_with(example, place, value))
        yield _encoded(_with(example, (*place[:-1], f"{place[-1]}_"), "unknown"))
    for text in STRANGE_TEXTS:
        for place in places:
            yield _encoded(_with(example, place, text))
        yield _encoded({**example, text: 1})
        yield _encoded({**example, "parameters": {text: 1}})
    yield from (_encoded(example)[:cut] for cut in range(1, 60, 2))


def _places(body: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in body.items():
        yield (*before, name)
        if isinstance(value, dict):
            yield from _places(value, (*before, name))


def _with(body: dict[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    name, *rest = place
    return {**body, name: _with(body[name], tuple(rest), value) if rest else value}


def _encoded(body: Any) -> bytes:
    return json.dumps(body).encode()
