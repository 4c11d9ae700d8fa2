"""A response on its way out: its headers, its body or its events, and the uniform error body."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from services.body import Message, Receive, Scope, Send, discard
from services.errors import TransferError
from services.events import Event
from services.gate import Visit
from services.stages import stages_ms

if TYPE_CHECKING:
    from services.engine import Answer

JSON = "application/json"
WHOLE = "transfer.whole"  # in a request's scope: what sends a complete answer at once
NO_SNIFF = (b"x-content-type-options", b"nosniff")
NO_STORE = (b"cache-control", b"no-store")  # answers and faults are of one caller's texts
encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Reply:
    """One response, complete or (with `events`) sent while it is made."""

    body: bytes = b""
    status: int = 200
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    answer: Answer | None = None
    events: AsyncGenerator[Event, None] | None = None
    unread: bool = False  # the request's body may still be coming
    kept: bool = False  # may be stored, as its own headers say


def error_reply(error: TransferError, request_id: str) -> Reply:
    """The uniform error body, with the headers that its status asks for."""
    fault = {
        "code": error.code,
        "message": _clean(error.message),
        "hint": _clean(error.hint),
        "request_id": request_id,
    }
    headers: list[tuple[str, str]] = []
    if retry_after_s := getattr(error, "retry_after_s", 0):
        headers.append(("Retry-After", str(retry_after_s)))
    if error.status == 401:
        headers.append(("WWW-Authenticate", "Bearer"))
    if allow := getattr(error, "allow", ""):
        headers.append(("Allow", allow))
    unread = getattr(error, "unread", False)
    return Reply(encode({"error": fault}), error.status, headers=tuple(headers), unread=unread)


def server_timing(answer: Answer | None, total_s: float) -> str:
    """Milliseconds by stage: of a list the shortest wait, and the sums of the work."""
    parts = []
    if answer and answer.done:
        parts = [f"{stage};dur={ms:.2f}" for stage, ms in stages_ms(answer.done).items()]
    parts.append(f"total;dur={1000 * total_s:.2f}")
    return ", ".join(parts)


def _clean(text: str) -> str:
    """Text that can be sent: a caller's half surrogate pair cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def response_start(reply: Reply, visit: Visit) -> Message:
    """Status and headers."""
    timing = server_timing(reply.answer, visit.seconds)
    headers = [
        (b"content-type", reply.kind.encode("latin-1")),
        (b"x-request-id", visit.request_id.encode("latin-1")),
        (b"server-timing", timing.encode("latin-1")),
        NO_SNIFF,
    ]
    if not reply.kept:
        headers.append(NO_STORE)
    for name, value in reply.headers:
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    if reply.events is None and reply.status != 304:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    return {"type": "http.response.start", "status": reply.status, "headers": headers}


def piece(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def send_reply(
    reply: Reply, visit: Visit, scope: Scope, receive: Receive, send: Send
) -> None:
    start = response_start(reply, visit)
    whole = scope.get("extensions", {}).get(WHOLE)
    plain = not (reply.unread or reply.headers or reply.status == 304)
    if whole and plain and whole(scope, start, reply.body):
        return
    await send(start)
    if reply.unread:
        await send(piece(reply.body))
        await discard(receive)
        reply.body = b""
    await send({"type": "http.response.body", "body": reply.body})
