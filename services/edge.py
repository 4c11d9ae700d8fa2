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
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import getrandbits
from time import perf_counter
from typing import TYPE_CHECKING, Any

from services import huggingface, openapi, static
from services.body import (
    Buffer,
    DisconnectError,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    Watch,
    has_gone,
    headers_of,
    read_body,
)
from services.errors import NotReadyError, TransferError, UsageError
from services.events import events_of
from services.gate import Gate, Visit
from services.lifecycle import end_worker
from services.metrics_port import serve_metrics
from services.reply import Reply, encode, error_reply, piece, response_start, send_reply
from services.schemas import (
    MILLISECONDS,
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
    from services.engine import Engine, Tell
    from services.traces import Traces

logger = logging.getLogger("transfer")

PASSED_ON = frozenset(
    {"/schema.json", "/static_content/swagger-ui.css", "/static_content/swagger-ui-bundle.js"}
)
SILENT = frozenset({"/livez", "/readyz", "/metrics"})  # not logged: probes ask all the time
BODIES = 4  # of the largest size, that are read at the same time
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
CLIENT_GONE = 499
UNKNOWN = "unknown"  # model and variant in the metrics of a request for which none was picked
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

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


Page = Callable[[], Reply]


class Edge:
    """The ASGI middleware; `engine()` gives the engine of the running service."""

    def __init__(self, app: Any, engine: Callable[[], Engine]) -> None:
        self.app = app
        self._find_engine = engine
        self._found: Engine | None = None
        self._gate: Gate | None = None
        self._traces: Traces | None = None
        self._buffer: Buffer | None = None
        self._openapi = b""
        self._in_flight = 0
        self._pages: dict[str, Page] = {
            "/docs.json": self._docs_json,
            "/livez": lambda: Reply(b'{"status":"alive"}'),
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/models": lambda: Reply(encode(self._ready_engine().fleet.models())),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._go_in_front(scope["app"])
            await self._live(scope, receive, send)
        elif _is_ours(scope):
            await self._answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """From start to end: the gate, and where asked for the traces and a port of metrics."""
        servers: list[asyncio.Server] = []

        async def started(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                try:
                    await self._open(servers)
                except UsageError as error:
                    # Raised, it would end this worker alone, which is started again for ever.
                    end_worker(error)
            await send(message)

        await self.app(scope, receive, started)
        for server in servers:
            server.close()
        if self._gate:
            self._gate.log.write()
        if self._traces:
            await asyncio.to_thread(self._traces.close)

    async def _open(self, servers: list[asyncio.Server]) -> None:
        """Raises UsageError for what the settings ask for and this machine does not give."""
        settings = self._engine().settings
        self._opened_gate()
        if settings.traces:
            from services.traces import traces_to

            self._traces = traces_to(settings.traces)
        if isinstance(settings.metrics, int):
            servers.append(await serve_metrics(settings.metrics, self._exposition, EXPOSITION))

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
        path, method = scope["path"], scope["method"]
        task = TASK_OF.get(path) if method == "POST" else None
        known = path in ROUTES or path in self._pages or path in static.files()
        route = path if known else UNKNOWN
        parent = headers.get("traceparent", "")
        visit = Visit(request_id_of(headers), method, route, began, parent)
        work = self._task(visit, headers, receive) if task else self._other(path, method, headers)
        reply = await self._guarded(work, visit)
        if "origin" in headers:
            reply.headers += self._opened_gate().cors(headers["origin"])
        if reply.events is not None:
            await self._stream(reply, visit, receive, send)
        if task:
            self._count(task, reply, visit)
        if path not in SILENT and not (path.startswith(static.PREFIX) and known):
            self._leave(visit, reply)
        if reply.events is None:
            try:
                await send_reply(reply, visit, scope, receive, send)
            except RuntimeError as error:
                if not has_gone(error):
                    raise

    async def _stream(self, reply: Reply, visit: Visit, receive: Receive, send: Send) -> None:
        """Send events as they come; when the client leaves, the work ends."""
        assert reply.events is not None
        watch = Watch(receive, math.inf)
        watch.body_is_here()
        self._in_flight += 1
        try:
            await send(response_start(reply, visit))
            await send(piece(reply.body))
            async for event in reply.events:
                reply.answer = event.answer
                await send(piece(event.encode()))
        except asyncio.CancelledError:
            reply.status = CLIENT_GONE
            with suppress(DisconnectError):
                watch.raise_reason()
                raise
        except Exception as error:
            if has_gone(error):
                reply.status = CLIENT_GONE
                return
            fault = await self._guarded(_raised(error), visit)
            reply.status = fault.status
            await send(piece(b"event: error\ndata: " + fault.body + b"\n\n"))
        finally:
            watch.end()
            self._in_flight -= 1
            await reply.events.aclose()
        await send({"type": "http.response.body", "body": b""})

    def _leave(self, visit: Visit, reply: Reply) -> None:
        if self._traces:
            visit.trace = self._traces.record(visit, reply.status, reply.answer)
        self._opened_gate().leave(visit, reply.status, reply.answer)

    def _count(self, task: str, reply: Reply, visit: Visit) -> None:
        model, variant = visit.model or UNKNOWN, visit.variant or UNKNOWN
        self._engine().metrics.answered(task, model, variant, reply.status, visit.seconds)

    async def _guarded(self, work: Awaitable[Reply], visit: Visit) -> Reply:
        """Turn every failure into the uniform error body."""
        try:
            return await work
        except DisconnectError:
            # Nobody reads it, but BentoML's timeout keeps a request open until it is answered.
            return Reply(status=CLIENT_GONE)
        except TransferError as error:
            if error.status in (401, 408, 413, 429, 503, 504):
                self._engine().metrics.rejected.add(error.code)
            return error_reply(error, visit.request_id)
        except Exception:
            logger.exception("request %s failed", visit.request_id)
            fault = TransferError(
                "The service failed at this request.",
                "Report it with its request_id; the log has the reason.",
                code="internal",
            )
            return error_reply(fault, visit.request_id)

    async def _task(self, visit: Visit, headers: Headers, receive: Receive) -> Reply:
        """Read, decode and answer one POST to a route of the contract."""
        gate, engine = self._opened_gate(), self._engine()
        visit.key = gate.keys.require(headers)
        timeout_s = timeout_of(headers)
        self._in_flight += 1
        watch = Watch(receive, engine.settings.body_timeout_s)
        try:
            body = await read_body(
                headers, receive, engine.settings.max_body_bytes, self._read_ahead(engine)
            )
            watch.body_is_here()
            request = decode_request(body, ROUTES[visit.route])
            gate.admit(visit, body, engine.scheduler.lengths.tokens)
            del body  # answering takes longer than reading
            return await answer_request(engine, request, timeout_s, visit.picked)
        except asyncio.CancelledError:
            watch.raise_reason()
            raise
        finally:
            watch.end()
            self._in_flight -= 1

    def _read_ahead(self, engine: Engine) -> Buffer:
        if self._buffer is None:
            self._buffer = Buffer(BODIES * engine.settings.max_body_bytes)
        return self._buffer

    async def _other(self, path: str, method: str, headers: Headers) -> Reply:
        if method == "OPTIONS" and "origin" in headers and (path in ROUTES or path in self._pages):
            return self._preflight(path, headers)
        if path in ("/models", "/metrics"):
            self._require_key(path, headers)
        if path in ROUTES:
            raise _wrong_method(path, method, "POST")
        file = static.files().get(path)
        if path in self._pages or file:
            if method not in ("GET", "HEAD"):
                raise _wrong_method(path, method, "GET, HEAD")
            return _file(file, headers) if file else self._pages[path]()
        if path in PASSED_ON:
            raise _wrong_method(path, method, "GET, HEAD")
        raise RouteError(
            f"There is nothing at {path[:200]}.",
            f"Known are {', '.join([*ROUTES, *static.ADDRESSES.values(), *self._pages])}.",
            code="unknown_route",
            status=404,
        )

    def _require_key(self, page: str, headers: Headers) -> None:
        """Of the pages that tell something, where there are keys."""
        if page != "/metrics" or self._engine().settings.metrics == "key":
            self._opened_gate().keys.require(headers)

    def _preflight(self, path: str, headers: Headers) -> Reply:
        methods = "POST" if path in ROUTES else "GET, HEAD"
        allowed = self._opened_gate().preflight(headers["origin"], methods)
        if not allowed:
            raise _wrong_method(path, "OPTIONS", methods)
        return Reply(headers=allowed)

    def _opened_gate(self) -> Gate:
        if self._gate is None:
            self._gate = Gate(self._engine().settings)
        return self._gate

    def _engine(self) -> Engine:
        if self._found is None:
            self._found = self._find_engine()
        return self._found

    # --- pages

    def _ready_engine(self) -> Engine:
        engine = self._engine()
        engine.fleet.require_ready()
        return engine

    def _readyz(self) -> Reply:
        if self._ready_engine().fleet.draining:
            raise NotReadyError("The service is about to end.", "Ask another one.")
        return Reply(b'{"status":"ready"}')

    def _metrics(self) -> Reply:
        engine = self._engine()
        if isinstance(port := engine.settings.metrics, int):
            raise RouteError(
                "The metrics are not here.",
                f"They are on port {port}.",
                code="unknown_route",
                status=404,
            )
        return Reply(self._exposition(), kind=EXPOSITION)

    def _exposition(self) -> bytes:
        engine = self._engine()
        engine.metrics.queue_depth.set(value=engine.scheduler.waiting)
        engine.metrics.queue_tokens.set(value=engine.scheduler.tokens)
        engine.metrics.queue_seconds.set(value=engine.scheduler.seconds())
        engine.metrics.in_flight.set(value=self._in_flight)
        return engine.metrics.exposition()

    def _docs_json(self) -> Reply:
        self._openapi = self._openapi or encode(openapi.document())
        return Reply(self._openapi)


def _is_ours(scope: Scope) -> bool:
    """All HTTP but the files of BentoML's own pages."""
    if scope["type"] != "http":
        return False
    return scope["path"] not in PASSED_ON or scope["method"] not in ("GET", "HEAD")


async def answer_request(
    engine: Engine, request: Request, timeout_s: float, tell: Tell | None = None
) -> Reply:
    """The reply to any checked request; tell: told which variant was picked."""
    if isinstance(request, CompareRequest):
        answer = await engine.compare(request, timeout_s, tell)
        return Reply(encode(answer.body), answer=answer)
    if isinstance(request, HfClassifyRequest | HfQaRequest | HfSummarizeRequest):
        answer = await engine.answer(huggingface.request_of(request), timeout_s, tell=tell)
        body = huggingface.answer_of(request, answer.body["results"])
        return Reply(encode(body), answer=answer)
    if isinstance(request, SummarizeRequest) and request.stream:
        events = events_of(engine, request, timeout_s, tell)
        first = await anext(events)  # what fails before it has a status of its own
        return Reply(
            first.encode(),
            kind="text/event-stream; charset=utf-8",
            headers=(("X-Accel-Buffering", "no"),),
            answer=first.answer,
            events=events,
        )
    answer = await engine.answer(request, timeout_s, tell=tell)  # type: ignore[arg-type]  # what is left
    return Reply(encode(answer.body), answer=answer)


def timeout_of(headers: Headers) -> float:
    """Seconds that the caller allows; raises InvalidError for what is no time."""
    text = headers.get("x-request-timeout-ms")
    if text is None:
        return math.inf
    if re.fullmatch(MILLISECONDS, text):
        return int(text) / 1000
    raise InvalidError(
        f"X-Request-Timeout-Ms is {text[:50]!r}; expected whole milliseconds above 0, "
        "in at most eight digits.",
        "Send e.g. X-Request-Timeout-Ms: 500, or leave it out.",
    )


def request_id_of(headers: Headers) -> str:
    """The caller's id when it is short and printable, else a new one."""
    given = headers.get("x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return f"{getrandbits(64):016x}"


def _wrong_method(path: str, method: str, allow: str) -> RouteError:
    error = RouteError(
        f"{path} does not take {method[:20]}.",
        f"Use {allow}.",
        code="method_not_allowed",
        status=405,
    )
    error.allow = allow
    return error


def _file(file: static.File, headers: Headers) -> Reply:
    if static.unchanged(file, headers):
        return Reply(status=304, kind=file.kind, headers=file.headers, kept=True)
    return Reply(file.content, kind=file.kind, headers=file.headers, kept=True)


async def _raised(error: Exception) -> Reply:
    raise error
