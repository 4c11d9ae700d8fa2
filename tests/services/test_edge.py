"""HTTP in process: what is hard to bring about in a running server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from services.body import Receive, Scope, Send
from services.edge import Edge
from services.engine import Engine
from services.metrics import Metrics
from services.registry import read_lock
from services.settings import Settings
from tests.services.conftest import Store


@pytest.fixture
def engine(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.setattr(
        "services.engine.variant_path",
        lambda tag: store.folders[tag.partition(":")[0].replace("-", "/", 1)],
    )
    settings = Settings(
        variants=("intent/full",), threads=1, queue_items=1, body_timeout_s=0.1, timeout_s=0.2
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
    engine.load()
    assert ask(engine, "GET", "/readyz").status_code == 200


def test_a_slow_body_is_408_before_anything_is_queued(engine: Engine) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(1)
        yield b"}"

    engine.load()
    kind = {"content-type": "application/json"}
    response = ask(engine, "POST", "/classify", content=slow(), headers=kind)
    assert (response.status_code, response.json()["error"]["code"]) == (408, "slow_body")


def test_overload_and_deadline_have_their_own_status(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.load()
    monkeypatch.setattr(engine.scheduler, "running", 1)
    full = ask(engine, "POST", "/classify", json={"text": "a"})
    assert (full.status_code, full.json()["error"]["code"]) == (429, "overloaded")
    assert int(full.headers["retry-after"]) >= 1
    monkeypatch.setattr(engine.scheduler, "running", 0)
    runtime = engine.pick("intent", None)
    slow = runtime.infer

    def infer(windows: Any) -> Any:
        import time

        time.sleep(0.5)
        return slow(windows)

    monkeypatch.setattr(runtime, "infer", infer)
    late = ask(engine, "POST", "/classify", json={"text": "a"})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_a_defect_is_500_with_the_uniform_body_and_no_detail(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine.load()
    monkeypatch.setattr(engine, "answer", lambda request: 1 / 0)
    response = ask(engine, "POST", "/classify", json={"text": "a"})
    assert response.status_code == 500
    error = response.json()["error"]
    assert error["code"] == "internal" and "division" not in response.text
    assert "ZeroDivisionError" in caplog.text and error["request_id"] in caplog.text


def test_what_is_not_ours_goes_on_to_bentoml() -> None:
    seen = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def main() -> None:
        edge = Edge(inner, lambda: None)  # type: ignore[arg-type,return-value]
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

    engine.load()
    app = TimeoutMiddleware(Edge(None, lambda: engine), timeout=3600)
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 5))
