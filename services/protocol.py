"""HTTP as uvicorn speaks it, with bounded heads of requests, and answers that leave in one piece.

uvicorn bounds neither: a header that never ends keeps its connection, and all that was sent of it,
for ever; and it answers what is no HTTP in plain text. Put in place of uvicorn's own by
`use_bounded_heads`, before a server is made.

A complete answer goes from `services.reply` to the socket without the steps between (`send_whole`),
which check anew what this service has made.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from random import getrandbits
from typing import Any

from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from services.body import Message, Scope
from services.errors import TransferError
from services.reply import JSON, WHOLE, error_reply

HEAD_BYTES = 65_536
DISCARD_S = 1.0  # what comes after a refusal, so that ordinary clients get to read it


class HeadError(TransferError):
    """A head that is too large, too slow, or none."""

    code = "malformed_http"
    status = 400


class BoundedProtocol(HttpToolsProtocol):
    """One connection. head_timeout_s: a head that takes longer to arrive is refused with 408."""

    head_timeout_s = 10.0
    _in_head = True
    _head_bytes = 0  # received since the last request was complete
    _timer: asyncio.TimerHandle | None = None
    _refused = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # uvicorn puts the line together also where nobody reads it.
        self.access_log = self.access_log and self.access_logger.isEnabledFor(logging.INFO)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes:
            if self._head_bytes > HEAD_BYTES:
                self._refuse(
                    HeadError(
                        f"The header is larger than {HEAD_BYTES} bytes.",
                        "Send less of it; texts belong into the body.",
                        code="header_too_large",
                        status=431,
                    )
                )
            elif self._timer is None:
                self._start_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes += 1  # the next one may begin behind one that is complete

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        # Not of the request's own objects: in a circle they would be left to the garbage collector,
        # and every request waits for that now and then.
        own: Any = {WHOLE: self._send_whole}
        self.scope["extensions"] = own
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def _send_whole(self, scope: Scope, start: Message, body: bytes) -> bool:
        """`send_whole` for the request that was read last; False for one with others behind it."""
        cycle = self.cycle
        return cycle is not None and cycle.scope is scope and send_whole(cycle, start, body)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP."""
        self._refuse(HeadError("This is not an HTTP request.", "Send HTTP/1.1."))

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.head_timeout_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._answering:
            self._start_timer()
            return
        if not self._head_bytes:
            self.transport.close()
            return
        self._refuse(
            HeadError(
                f"The header had not arrived after {self.head_timeout_s:g} s.",
                "Send it faster.",
                code="slow_header",
                status=408,
            )
        )

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: HeadError) -> None:
        """Say why and close; only close when an earlier request's answer is on its way."""
        self._stop_timer()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        if not self._answering:
            request_id = f"{getrandbits(64):016x}"
            body = error_reply(error, request_id).body
            status = HTTPStatus(error.status)
            lines = (
                f"HTTP/1.1 {status.value} {status.phrase}",
                f"content-type: {JSON}",
                f"content-length: {len(body)}",
                f"x-request-id: {request_id}",
                "x-content-type-options: nosniff",
                "cache-control: no-store",
                "connection: close",
            )
            self.transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._timer = self.loop.call_later(DISCARD_S, self.transport.close)
        else:
            self.transport.close()


def send_whole(cycle: RequestResponseCycle, start: Message, body: bytes) -> bool:
    """Write a complete answer; False where uvicorn has to send it step by step.

    start: `http.response.start` with a Content-Length, and headers that are valid as they are
    """
    more_to_do = cycle.access_log or cycle.scope["method"] == "HEAD"
    if more_to_do or cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
        return False
    parts = [STATUS_LINE[start["status"]]]
    for name, value in (*cycle.default_headers, *start["headers"]):
        parts += (name, b": ", value, b"\r\n")
    if not cycle.keep_alive:
        parts.append(b"connection: close\r\n")
    parts += (b"\r\n", body)
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def use_bounded_heads() -> None:
    """From now on uvicorn's servers in this process speak so."""
    auto.AutoHTTPProtocol = BoundedProtocol
