"""The files of the pages for people: `/`, the playground, and `/docs`, Swagger.

In: a path. Out: a file's bytes with headers that let a browser keep it, ask whether it changed, and
load nothing from anywhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from services.examples import SHOWN

FOLDER = Path(__file__).parent / "playground"
PREFIX = "/playground/"
EXAMPLES = f"{PREFIX}examples.json"
ADDRESSES = {"index.html": "/", "docs.html": "/docs"}
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
}
SOURCES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "form-action": "'none'",
}
# Swagger's own script writes style attributes.
SWAGGER_SOURCES = {**SOURCES, "style-src": "'self' 'unsafe-inline'"}


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent; `headers` without its content type."""

    content: bytes
    kind: str
    etag: str
    headers: tuple[tuple[str, str], ...]


@cache
def files() -> dict[str, File]:
    """Every file by its path in the service; read once."""
    found = {
        ADDRESSES.get(path.name, PREFIX + path.name): _file(path.read_bytes(), path.name)
        for path in FOLDER.iterdir()
        if path.suffix in KINDS
    }
    return {**found, EXAMPLES: _file(msgspec.json.encode(SHOWN), EXAMPLES)}


def unchanged(file: File, headers: Mapping[str, str]) -> bool:
    """Whether the caller holds this very file already (If-None-Match)."""
    held = headers.get("if-none-match", "")
    tags = [tag.strip().removeprefix("W/") for tag in held.split(",")]
    return file.etag in tags or tags == ["*"]


def _file(content: bytes, name: str) -> File:
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    sources = SWAGGER_SOURCES if name == "docs.html" else SOURCES
    headers = (
        ("ETag", etag),
        ("Cache-Control", "no-cache"),  # kept, but asked about: an upgrade shows at once
        ("Content-Security-Policy", _policy(sources.items())),
        ("Referrer-Policy", "no-referrer"),
    )
    return File(content, KINDS[Path(name).suffix], etag, headers)


def _policy(sources: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{name} {value}" for name, value in sources)
