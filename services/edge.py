"""HTTP: one ASGI app in front of BentoML that answers every route of the contract itself.

In: requests. Out: JSON, the uniform error body, `X-Request-Id`, `Server-Timing`. BentoML's own
handlers answer only POST, cannot shape 404 or 405, and cost ten times as much; they keep
`/schema.json` (its clients read it) and the Swagger files.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import getrandbits
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from services import huggingface, openapi, pages
from services.body import (
    DisconnectError,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    Watch,
    discard,
    headers_of,
    read_body,
)
from services.errors import TransferError
from services.events import Event, events_of
from services.schemas import (
    ROUTES,
    CompareRequest,
    HfClassifyRequest,
    HfQaRequest,
    HfSummarizeRequest,
    InvalidError,
    Request,
    SummarizeRequest,
    decode_request,
)

if TYPE_CHECKING:
    from services.engine import Answer, Engine

logger = logging.getLogger("transfer")

JSON = "application/json"
PASSED_ON = frozenset(
    {"/schema.json", "/static_content/swagger-ui.css", "/static_content/swagger-ui-bundle.js"}
)
STAGES = ("queue", "tokenize", "infer", "decode")
CLIENT_GONE = 499
UNKNOWN = "unknown"  # model and variant in the metrics of a request that named none there is
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_encode = msgspec.json.Encoder().encode

TASK_OF = {
    "/classify": "classify",
    "/qa": "qa",
    "/summarize": "summarize",
    "/compare": "compare",
    "/hf/text-classification": "classify",
    "/hf/question-answering": "qa",
    "/hf/summarization": "summarize",
}


class RouteError(TransferError):
    """An address or a method that does not exist."""

    allow = ""


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


Page = Callable[[], Reply]


class Edge:
    """The ASGI middleware; `engine()` gives the engine of the running service."""

    def __init__(self, app: Any, engine: Callable[[], Engine]) -> None:
        self.app = app
        self._find_engine = engine
        self._found: Engine | None = None
        self._openapi = b""
        self._in_flight = 0
        self._pages: dict[str, Page] = {
            "/": lambda: _page(pages.index()),
            "/docs": lambda: _page(pages.docs()),
            "/docs.json": self._docs_json,
            "/livez": lambda: Reply(b'{"status":"alive"}'),
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/models": lambda: Reply(_encode(self._ready_engine().models())),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._go_in_front(scope["app"])
        if _is_ours(scope):
            await self._answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _go_in_front(self, app: Any) -> None:
        """Take our requests before BentoML's own middleware does.

        It would trace each of them, and keep a timer of each until TIMEOUT has passed, answered or
        not: at a thousand requests a second that is millions of timers.
        """
        behind = app.middleware_stack

        async def front(scope: Scope, receive: Receive, send: Send) -> None:
            await (self._answer if _is_ours(scope) else behind)(scope, receive, send)

        app.middleware_stack = front

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        headers = headers_of(scope)
        request_id = request_id_of(headers)
        task = TASK_OF.get(scope["path"]) if scope["method"] == "POST" else None
        work = self._task(scope["path"], headers, receive) if task else self._other(scope)
        reply = await self._guarded(work, request_id)
        if reply.events is not None:
            await self._stream(reply, request_id, began, receive, send)
        if task:
            self._count(task, reply, perf_counter() - began)
        if reply.events is None:
            await _send(reply, request_id, began, receive, send)

    async def _stream(
        self, reply: Reply, request_id: str, began: float, receive: Receive, send: Send
    ) -> None:
        """Send events as they come; when the client leaves, the work ends."""
        assert reply.events is not None
        watch = Watch(receive, math.inf)
        watch.body_is_here()
        self._in_flight += 1
        try:
            await send(_start(reply, request_id, began))
            await send(_piece(reply.body))
            async for event in reply.events:
                reply.answer = event.answer
                await send(_piece(event.encode()))
        except asyncio.CancelledError:
            reply.status = CLIENT_GONE
            with suppress(DisconnectError):
                watch.raise_reason()
                raise
        except Exception as error:
            fault = await self._guarded(_raised(error), request_id)
            reply.status = fault.status
            await send(_piece(b"event: error\ndata: " + fault.body + b"\n\n"))
        finally:
            watch.end()
            self._in_flight -= 1
            await reply.events.aclose()
        await send({"type": "http.response.body", "body": b""})

    def _count(self, task: str, reply: Reply, seconds: float) -> None:
        answer = reply.answer
        model, variant = (answer.model, answer.variant) if answer else (UNKNOWN, UNKNOWN)
        self._engine().metrics.answered(task, model, variant, reply.status, seconds)

    async def _guarded(self, work: Awaitable[Reply], request_id: str) -> Reply:
        """Turn every failure into the uniform error body."""
        try:
            return await work
        except DisconnectError:
            # Nobody reads it, but BentoML's timeout keeps a request open until it is answered.
            return Reply(status=CLIENT_GONE)
        except TransferError as error:
            if error.status in (408, 413, 429, 503, 504):
                self._engine().metrics.rejected.add(error.code)
            return error_reply(error, request_id)
        except Exception:
            logger.exception("request %s failed", request_id)
            fault = TransferError(
                "The service failed at this request.",
                "Report it with its request_id; the log has the reason.",
                code="internal",
            )
            return error_reply(fault, request_id)

    async def _task(self, path: str, headers: Headers, receive: Receive) -> Reply:
        """Read, decode and answer one POST to a route of the contract."""
        engine = self._engine()
        timeout_s = timeout_of(headers)
        self._in_flight += 1
        watch = Watch(receive, engine.settings.body_timeout_s)
        try:
            body = await read_body(headers, receive, engine.settings.max_body_bytes)
            watch.body_is_here()
            return await answer_request(engine, decode_request(body, ROUTES[path]), timeout_s)
        except asyncio.CancelledError:
            watch.raise_reason()
            raise
        finally:
            watch.end()
            self._in_flight -= 1

    async def _other(self, scope: Scope) -> Reply:
        path, method = scope["path"], scope["method"]
        if path in self._pages:
            if method in ("GET", "HEAD"):
                return self._pages[path]()
            raise _wrong_method(path, method, "GET, HEAD")
        if path in ROUTES:
            raise _wrong_method(path, method, "POST")
        if path in PASSED_ON:
            raise _wrong_method(path, method, "GET, HEAD")
        raise RouteError(
            f"There is nothing at {path[:200]}.",
            f"Known are {', '.join([*ROUTES, *self._pages])}.",
            code="unknown_route",
            status=404,
        )

    def _engine(self) -> Engine:
        if self._found is None:
            self._found = self._find_engine()
        return self._found

    # --- pages

    def _ready_engine(self) -> Engine:
        engine = self._engine()
        engine.require_ready()
        return engine

    def _readyz(self) -> Reply:
        self._ready_engine()
        return Reply(b'{"status":"ready"}')

    def _metrics(self) -> Reply:
        engine = self._engine()
        engine.metrics.queue_depth.set(value=engine.scheduler.waiting)
        engine.metrics.queue_tokens.set(value=engine.scheduler.tokens)
        engine.metrics.in_flight.set(value=self._in_flight)
        return Reply(engine.metrics.exposition(), kind="text/plain; version=0.0.4; charset=utf-8")

    def _docs_json(self) -> Reply:
        self._openapi = self._openapi or _encode(openapi.document())
        return Reply(self._openapi)


def _is_ours(scope: Scope) -> bool:
    """All HTTP but the files of BentoML's own pages."""
    if scope["type"] != "http":
        return False
    return scope["path"] not in PASSED_ON or scope["method"] not in ("GET", "HEAD")


async def answer_request(engine: Engine, request: Request, timeout_s: float) -> Reply:
    """The reply to any checked request."""
    if isinstance(request, CompareRequest):
        answer = await engine.compare(request, timeout_s)
        return Reply(_encode(answer.body), answer=answer)
    if isinstance(request, HfClassifyRequest | HfQaRequest | HfSummarizeRequest):
        answer = await engine.answer(huggingface.request_of(request), timeout_s)
        body = huggingface.answer_of(request, answer.body["results"])
        return Reply(_encode(body), answer=answer)
    if isinstance(request, SummarizeRequest) and request.stream:
        events = events_of(engine, request, timeout_s)
        first = await anext(events)  # what fails before it has a status of its own
        return Reply(
            first.encode(),
            kind="text/event-stream; charset=utf-8",
            headers=(("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no")),
            answer=first.answer,
            events=events,
        )
    answer = await engine.answer(request, timeout_s)  # type: ignore[arg-type]  # what is left
    return Reply(_encode(answer.body), answer=answer)


def timeout_of(headers: Headers) -> float:
    """Seconds that the caller allows; raises InvalidError for what is no time."""
    text = headers.get("x-request-timeout-ms")
    if text is None:
        return math.inf
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise InvalidError(
            f"X-Request-Timeout-Ms is {text[:50]!r}; expected whole milliseconds above 0.",
            "Send e.g. X-Request-Timeout-Ms: 500, or leave it out.",
        )
    return int(text) / 1000


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
    if allow := getattr(error, "allow", ""):
        headers.append(("Allow", allow))
    unread = getattr(error, "unread", False)
    return Reply(_encode({"error": fault}), error.status, headers=tuple(headers), unread=unread)


def request_id_of(headers: Headers) -> str:
    """The caller's id when it is short and printable, else a new one."""
    given = headers.get("x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return f"{getrandbits(64):016x}"


def server_timing(answer: Answer | None, total_s: float) -> str:
    """Milliseconds by stage: of a list the shortest wait, and the sums of the work."""
    parts = []
    if answer and answer.done:
        parts.append(f"queue;dur={1000 * min(one.queue for one in answer.done):.2f}")
        for stage in STAGES[1:]:
            seconds = sum(getattr(one, stage) for one in answer.done)
            parts.append(f"{stage};dur={1000 * seconds:.2f}")
    parts.append(f"total;dur={1000 * total_s:.2f}")
    return ", ".join(parts)


def _wrong_method(path: str, method: str, allow: str) -> RouteError:
    error = RouteError(
        f"{path} does not take {method[:20]}.",
        f"Use {allow}.",
        code="method_not_allowed",
        status=405,
    )
    error.allow = allow
    return error


def _clean(text: str) -> str:
    """Text that can be sent: a caller's half surrogate pair cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _page(html: str) -> Reply:
    return Reply(html.encode(), kind="text/html; charset=utf-8")


async def _raised(error: Exception) -> Reply:
    raise error


def _start(reply: Reply, request_id: str, began: float) -> Message:
    """Status and headers."""
    timing = server_timing(reply.answer, perf_counter() - began)
    headers = [
        (b"content-type", reply.kind.encode("latin-1")),
        (b"x-request-id", request_id.encode("latin-1")),
        (b"server-timing", timing.encode("latin-1")),
    ]
    for name, value in reply.headers:
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    if reply.events is None:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    return {"type": "http.response.start", "status": reply.status, "headers": headers}


def _piece(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _send(reply: Reply, request_id: str, began: float, receive: Receive, send: Send) -> None:
    await send(_start(reply, request_id, began))
    if reply.unread:
        await send(_piece(reply.body))
        await discard(receive)
        reply.body = b""
    await send({"type": "http.response.body", "body": reply.body})
