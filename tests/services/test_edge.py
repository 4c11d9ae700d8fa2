"""HTTP in process: what is hard to bring about in a running server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from services.body import Receive, Scope, Send
from services.edge import Edge
from services.engine import Engine
from services.lock import read_lock
from services.metrics import Metrics
from services.settings import Settings
from tests.services.conftest import Store


@pytest.fixture
def engine(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(
        "services.fleet.variant_path",
        lambda tag: store.folders[tag.partition(":")[0].replace("-", "/", 1)],
    )
    settings = Settings(
        variants=("intent/full",),
        threads=1,
        queue_tokens=1,
        body_timeout_s=0.1,
        timeout_s=0.2,
        plans=tmp_path / "plans.json",
    )
    made = Engine(settings, read_lock(store.lock), Metrics())
    yield made
    made.close()


def ask(engine: Engine, method: str, path: str, **request: Any) -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(Edge(None, lambda: engine))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **request)

    return asyncio.run(main())


def test_until_the_variants_are_loaded_it_lives_and_is_not_ready(engine: Engine) -> None:
    assert ask(engine, "GET", "/livez").status_code == 200
    for method, path in (("GET", "/readyz"), ("GET", "/models"), ("POST", "/classify")):
        response = ask(
            engine, method, path, **({"json": {"text": "a"}} if method == "POST" else {})
        )
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert response.json()["error"]["code"] == "not_ready"
    engine.fleet.load()
    assert ask(engine, "GET", "/readyz").status_code == 200


def test_a_slow_body_is_408_before_anything_is_queued(engine: Engine) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(1)
        yield b"}"

    engine.fleet.load()
    kind = {"content-type": "application/json"}
    response = ask(engine, "POST", "/classify", content=slow(), headers=kind)
    assert (response.status_code, response.json()["error"]["code"]) == (408, "slow_body")


def test_overload_and_deadline_have_their_own_status(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.fleet.load()
    engine.scheduler.tokens = 1
    full = ask(engine, "POST", "/classify", json={"text": "a"})
    assert (full.status_code, full.json()["error"]["code"]) == (429, "overloaded")
    assert int(full.headers["retry-after"]) >= 1
    engine.scheduler.tokens = 0
    late = ask_slowly(engine, monkeypatch)
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert "longer than 0.2 s" in late.json()["error"]["message"]


def ask_slowly(engine: Engine, monkeypatch: pytest.MonkeyPatch, **headers: str) -> httpx.Response:
    """Ask while the graph takes half a second."""
    runtime = engine.fleet.pick("intent", None)
    call = runtime.call

    def slow(windows: Any) -> Any:
        time.sleep(0.5)
        return call(windows)

    monkeypatch.setattr(runtime, "call", slow)
    return ask(engine, "POST", "/classify", json={"text": "a"}, headers=headers)


def test_a_caller_can_allow_less_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.fleet.load()
    late = ask_slowly(engine, monkeypatch, **{"X-Request-Timeout-Ms": "50"})
    assert late.status_code == 504
    assert "longer than 0.05 s" in late.json()["error"]["message"]


@pytest.mark.parametrize("time", ["0", "-5", "1.5", "soon", "\u0665"])
def test_a_time_that_is_none_is_refused(engine: Engine, time: str) -> None:
    engine.fleet.load()
    headers = {"X-Request-Timeout-Ms": time.encode()}
    response = ask(engine, "POST", "/classify", json={"text": "a"}, headers=headers)
    assert response.status_code == 422
    assert "expected whole milliseconds" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [("unable to perform operation on <TCPTransport>; the handler is closed", False), ("x", True)],
)
@pytest.mark.parametrize("path", ["/livez", "/classify"])
def test_a_client_that_has_reset_its_connection_is_no_defect(
    engine: Engine, path: str, fault: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """uvloop refuses to write then; uvicorn would log a trace for each of them."""
    engine.fleet.load()
    body = b'{"text": "send"}'
    sent = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if sent:
            return sent.pop()
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        raise RuntimeError(fault)

    method = "GET" if path == "/livez" else "POST"
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "path": path, "method": method, "headers": headers}
    asked = Edge(None, lambda: engine)(scope, receive, send)
    if told:
        with pytest.raises(RuntimeError, match="x"):
            asyncio.run(asked)  # type: ignore[arg-type]
    else:
        asyncio.run(asked)  # type: ignore[arg-type]
        assert not caplog.records


def test_a_defect_is_500_with_the_uniform_body_and_no_detail(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine.fleet.load()
    monkeypatch.setattr(engine, "answer", lambda request, timeout_s, tell: 1 / 0)
    response = ask(engine, "POST", "/classify", json={"text": "a"})
    assert response.status_code == 500
    error = response.json()["error"]
    assert error["code"] == "internal" and "division" not in response.text
    assert "ZeroDivisionError" in caplog.text and error["request_id"] in caplog.text


def test_a_request_that_fails_is_counted_for_the_variant_that_was_picked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So that one variant's faults can be told from another's."""
    engine.fleet.load()
    engine.scheduler.tokens = 1
    assert ask(engine, "POST", "/classify", json={"text": "a"}).status_code == 429
    engine.scheduler.tokens = 0
    assert ask(engine, "POST", "/classify", json={"text": ""}).status_code == 422
    compared = {"task": "classify", "input": {"text": ""}}
    assert ask(engine, "POST", "/compare", json=compared).status_code == 422
    with monkeypatch.context() as patched:
        patched.setattr(engine.fleet.pick("intent", None), "call", lambda windows: 1 / 0)
        assert ask(engine, "POST", "/classify", json={"text": "a"}).status_code == 500
    assert ask_slowly(engine, monkeypatch).status_code == 504
    assert "ZeroDivisionError" in caplog.text
    assert set(engine.metrics.requests.values) == {
        ("classify", "intent", "full", "429"),
        ("classify", "intent", "full", "422"),
        ("compare", "intent", "several", "422"),
        ("classify", "intent", "full", "504"),
        ("classify", "intent", "full", "500"),
    }


@pytest.mark.parametrize(
    "body", [{"text": 5}, {"text": "a", "model": "m" * 50}, {"text": "a", "variant": "none"}]
)
def test_a_request_for_which_no_variant_was_picked_is_counted_for_none(
    engine: Engine, body: dict[str, Any]
) -> None:
    """What a caller invents becomes no label."""
    engine.fleet.load()
    status = ask(engine, "POST", "/classify", json=body).status_code
    assert set(engine.metrics.requests.values) == {("classify", "unknown", "unknown", str(status))}


def test_what_is_not_ours_goes_on_to_bentoml() -> None:
    seen = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def main() -> None:
        edge = Edge(inner, lambda: SimpleNamespace(settings=Settings()))  # type: ignore[arg-type,return-value]
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(edge), base_url="http://test"
        ) as client:
            for path in ("/schema.json", "/static_content/swagger-ui.css", "/static_content/x"):
                await client.get(path)

    asyncio.run(main())
    assert seen == ["/schema.json", "/static_content/swagger-ui.css"]


def test_a_client_that_leaves_is_not_waited_for(engine: Engine) -> None:
    """Behind BentoML's timeout, which waits until something is sent."""
    from bentoml._internal.server.http.traffic import TimeoutMiddleware

    messages = [{"type": "http.request", "body": b"{", "more_body": True}]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/classify",
        "headers": [(b"content-type", b"application/json")],
    }

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    engine.fleet.load()
    app = TimeoutMiddleware(Edge(None, lambda: engine), timeout=3600)
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 5))


def test_the_work_of_a_client_that_leaves_is_dropped(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves while its text waits behind another one: the text is never read."""
    engine.fleet.load()
    engine.scheduler.queue_tokens = 1000
    object.__setattr__(engine.settings, "timeout_s", 20.0)
    runtime = engine.fleet.pick("intent", None)
    read: list[int] = []
    gate = threading.Event()
    call = runtime.call

    def gated(windows: Any) -> Any:
        read.append(len(windows))
        assert gate.wait(20)
        return call(windows)

    monkeypatch.setattr(runtime, "call", gated)
    left = asyncio.Event()
    sent: list[Any] = []

    def client(text: bytes, leaves: bool) -> Any:
        messages = [{"type": "http.request", "body": b'{"text": "%s"}' % text}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            if leaves:
                left.set()
                return {"type": "http.disconnect"}
            await asyncio.sleep(20)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/classify",
            "headers": [(b"content-type", b"application/json")],
        }
        return Edge(None, lambda: engine)(scope, receive, send)

    async def main() -> None:
        stays = asyncio.create_task(client(b"one", leaves=False))
        while not read:
            await asyncio.sleep(0.01)
        leaves = asyncio.create_task(client(b"another", leaves=True))
        await asyncio.wait_for(left.wait(), 5)
        await leaves
        gate.set()
        await stays

    asyncio.run(asyncio.wait_for(main(), 20))
    statuses = [message["status"] for message in sent if "status" in message]
    assert sorted(statuses) == [200, 499]
    engine.close()
    assert read == [1]


def test_requests_go_past_bentomls_middleware() -> None:
    """Once its app has started, which it tells by a lifespan scope."""
    seen = []

    async def bentoml(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope.get("path", scope["type"]))

    class App:
        middleware_stack: Any = staticmethod(bentoml)

    async def main() -> None:
        app = App()
        edge = Edge(bentoml, lambda: None)  # type: ignore[arg-type,return-value]
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("nothing to read")

        await edge({"type": "lifespan", "app": app}, receive, send)
        for path in ("/livez", "/schema.json"):
            scope = {"type": "http", "method": "GET", "path": path, "headers": []}
            await app.middleware_stack(scope, receive, send)
        assert [message.get("status") for message in sent] == [200, None]

    asyncio.run(main())
    assert seen == ["lifespan", "/schema.json"]
