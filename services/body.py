"""A request body off the wire: its type, its size and its time checked before anything is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any

from services.errors import TransferError
from services.settings import Settings

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Headers = dict[str, str]
Send = Callable[[Message], Awaitable[None]]

# What is read and thrown away after a 413, so that ordinary clients get to read the answer.
DISCARD_BYTES, DISCARD_S = 64_000_000, 2.0


class BodyError(TransferError):
    """A body that is too large, too slow, or of a type that no route reads.

    unread: the rest of it may still be on its way
    """

    unread = True


class DisconnectError(Exception):
    """The client has gone; there is nobody to answer."""


def headers_of(scope: Scope) -> Headers:
    """The headers by their names in lower case."""
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}


async def read_body(headers: Headers, receive: Receive, settings: Settings) -> bytes:
    """The whole body; raises BodyError with 408, 413 or 415."""
    if headers.get("content-type") != "application/json" or "content-encoding" in headers:
        _check_type(headers)
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > settings.max_body_bytes:
        raise _too_large(settings)
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            return await _collect(receive, settings)
    except TimeoutError as error:
        slow = BodyError(
            f"The body had not arrived after {settings.body_timeout_s:g} s.",
            "Send it faster, or in several requests.",
            code="slow_body",
            status=408,
        )
        slow.unread = False  # it has been waited for long enough
        raise slow from error


async def _collect(receive: Receive, settings: Settings) -> bytes:
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise DisconnectError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        more = message.get("more_body", False)
        if size > settings.max_body_bytes:
            raise _too_large(settings, unread=more)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _check_type(headers: Headers) -> None:
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.lower().replace(" ", "").replace('"', "")
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise BodyError(
            f"The content type is {(kind + ';' + parameters).strip(';')[:100] or 'missing'}; "
            "expected application/json.",
            "Send the header Content-Type: application/json.",
            code="unsupported_media_type",
            status=415,
        )
    if headers.get("content-encoding", "").lower() not in ("", "identity"):
        raise BodyError(
            "The body is compressed; expected it as it is.",
            "Leave out Content-Encoding.",
            code="unsupported_media_type",
            status=415,
        )


def _too_large(settings: Settings, unread: bool = True) -> BodyError:
    error = BodyError(
        f"The body is larger than {settings.max_body_bytes} bytes.",
        "Send the texts in several requests.",
        code="body_too_large",
        status=413,
    )
    error.unread = unread
    return error


async def discard(receive: Receive) -> None:
    """Read the rest of a refused body within bounds."""
    until, left, more = monotonic() + DISCARD_S, DISCARD_BYTES, True
    try:
        while more and left > 0:
            async with asyncio.timeout(max(until - monotonic(), 0)):
                message = await receive()
            left -= len(message.get("body", b""))
            more = message["type"] == "http.request" and bool(message.get("more_body"))
    except TimeoutError:
        return
