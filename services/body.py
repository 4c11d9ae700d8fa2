"""A request body off the wire: its type, its size and its time checked before anything is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any

from services.errors import TransferError

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Headers = dict[str, str]
Send = Callable[[Message], Awaitable[None]]

# What is read and thrown away after a 413, so that ordinary clients get to read the answer.
DISCARD_BYTES, DISCARD_S = 64_000_000, 2.0
LOOK_AFTER_S = 0.1  # until then nobody looks whether body and client are still there


class BodyError(TransferError):
    """A body that is too large, too slow, or of a type that no route reads.

    unread: the rest of it may still be on its way
    """

    unread = True


class DisconnectError(Exception):
    """The client has gone; there is nobody to answer."""


def has_gone(error: Exception) -> bool:
    """Whether a send failed because the client had closed the connection, as uvloop says it."""
    return isinstance(error, RuntimeError) and "the handler is closed" in str(error)


def headers_of(scope: Scope) -> Headers:
    """The headers by their names in lower case."""
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}


class BusyError(BodyError):
    """Too many large bodies are on their way at once."""

    code = "overloaded"
    status = 429
    retry_after_s = 1


class Buffer:
    """How much of bodies that are still on their way is held, of all connections together.

    A body that is here at once, as nearly all are, is not counted: it cannot be refused for those
    that others send slowly.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0

    def hold(self, size: int) -> None:
        """Count so many more bytes; raises BusyError where that is too much."""
        self.held_bytes += size
        if self.held_bytes > self.most_bytes:
            raise BusyError(
                f"{self.held_bytes} bytes of bodies are on their way; at most {self.most_bytes} "
                "are held.",
                "Try again after the time in Retry-After.",
            )


async def read_body(
    headers: Headers, receive: Receive, max_bytes: int, buffer: Buffer | None = None
) -> bytes:
    """The whole body; raises BodyError with 413, 415 or 429, DisconnectError."""
    if headers.get("content-type") != "application/json" or "content-encoding" in headers:
        _check_type(headers)
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size, held, more = 0, 0, True
    try:
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise DisconnectError
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            more = message.get("more_body", False)
            if size > max_bytes:
                raise _too_large(max_bytes, unread=more)
            if more and buffer:
                held += len(chunks[-1])
                buffer.hold(len(chunks[-1]))
    finally:
        if buffer:
            buffer.held_bytes -= held
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class Watch:
    """Ends the current task when its body does not arrive, or when the client leaves.

    For the first moments, which are all that most requests take, it is one timer and looks at
    nothing. `raise_reason` tells what the task was cancelled for.
    """

    def __init__(self, receive: Receive, body_timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._receive = receive
        self._body_timeout_s = body_timeout_s
        self._until = self._loop.time() + body_timeout_s
        self._reading = True
        self._listener: asyncio.Task[None] | None = None
        self._reason: Exception | None = None
        first = min(LOOK_AFTER_S, body_timeout_s)
        self._timer = self._loop.call_later(first, self._look)

    def body_is_here(self) -> None:
        self._reading = False

    def raise_reason(self) -> None:
        """Raise BodyError (408) or DisconnectError if the watch cancelled the task."""
        if self._reason is not None and self._task is not None:
            self._task.uncancel()
            raise self._reason from None

    def end(self) -> None:
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()

    def _look(self) -> None:
        if not self._reading:
            self._listener = self._loop.create_task(self._listen())
        elif self._loop.time() < self._until:
            self._timer = self._loop.call_later(
                min(LOOK_AFTER_S, self._until - self._loop.time()), self._look
            )
        else:
            self._cancel(_slow_body(self._body_timeout_s))

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cancel(DisconnectError())

    def _cancel(self, reason: Exception) -> None:
        self._reason = reason
        if self._task is not None:
            self._task.cancel()


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


def _slow_body(timeout_s: float) -> BodyError:
    error = BodyError(
        f"The body had not arrived after {timeout_s:g} s.",
        "Send it faster, or in several requests.",
        code="slow_body",
        status=408,
    )
    error.unread = False  # it has been waited for long enough
    return error


def _too_large(max_bytes: int, unread: bool = True) -> BodyError:
    error = BodyError(
        f"The body is larger than {max_bytes} bytes.",
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
