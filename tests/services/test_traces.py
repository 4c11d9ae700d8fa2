"""Spans as a collector gets them: a real server sends them over OTLP, a test decodes them."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.services.conftest import Store
from tests.services.server import Server, environment, serving

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET, KEY = "nobody may read this sentence", "shop-0123456789abcdef"


@dataclass
class Collector:
    """Keeps every span that comes, by the request id that it names."""

    url: str
    spans: dict[str, Any] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    raw: bytes = b""

    def span(self, request_id: str) -> Any:
        until = time.monotonic() + 20
        while request_id not in self.spans:
            assert time.monotonic() < until, self.spans
            time.sleep(0.05)
        return self.spans[request_id]


def attributes(of: Any) -> dict[str, Any]:
    """Of a span or a resource, as plain values."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in of.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent = ExportTraceServiceRequest.FromString(body)
            collector.raw += body
            for group in sent.resource_spans:
                collector.resource = attributes(group.resource)
                for span in (span for scope in group.scope_spans for span in scope.spans):
                    collector.spans[attributes(span)["transfer.request_id"]] = span
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{listener.server_port}")
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield collector
    listener.shutdown()
    listener.server_close()


@dataclass
class Traced:
    server: Server
    collector: Collector

    def ask(self, request_id: str, path: str = "/classify", **how: Any) -> httpx.Response:
        headers = {"X-Request-Id": request_id, "X-Api-Key": KEY, **how.pop("headers", {})}
        how = {"method": "POST", "json": {"text": SECRET}, **how}
        return httpx.request(url=self.server.url + path, headers=headers, timeout=20, **how)

    def logged(self, request_id: str) -> dict[str, Any]:
        """The line of the log, waited for."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            for line in self.server.output().splitlines():
                if line.startswith("{") and (entry := json.loads(line))["id"] == request_id:
                    return dict(entry)
            time.sleep(0.05)
        raise AssertionError(self.server.output())


@pytest.fixture(scope="module")
def traced(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("traced")
    with collecting() as collector:
        env = environment(
            store.home,
            store.lock,
            TRANSFER_TRACES=collector.url,
            TRANSFER_API_KEYS=f"shop:{KEY}",
            OTEL_RESOURCE_ATTRIBUTES="k8s.pod.name=transfer-1",
            OTEL_BSP_SCHEDULE_DELAY="100",
        )
        with serving(folder / "log.txt", env) as server:
            server.wait_until_ready()
            yield Traced(server, collector)


def test_a_request_is_a_span_with_what_it_cost(traced: Traced) -> None:
    began = time.time_ns()
    assert traced.ask("a-span").status_code == 200
    span = traced.collector.span("a-span")
    seen = attributes(span)
    assert (span.name, span.kind) == ("POST /classify", span.SPAN_KIND_SERVER)
    assert began <= span.start_time_unix_nano < span.end_time_unix_nano <= time.time_ns()
    expected = {
        "http.request.method": "POST",
        "http.route": "/classify",
        "http.response.status_code": 200,
        "transfer.model": "intent",
        "transfer.items": 1,
    }
    assert {name: seen[name] for name in expected} == expected
    assert seen["transfer.tokens"] > 0
    total_ms = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
    stages = [seen[f"transfer.{stage}_ms"] for stage in ("queue", "tokenize", "infer", "decode")]
    assert 0 < sum(stages) <= total_ms
    assert traced.collector.resource["service.name"] == "transfer"
    assert traced.collector.resource["k8s.pod.name"] == "transfer-1"


def test_a_request_that_fails_names_the_variant_that_was_picked(traced: Traced) -> None:
    assert traced.ask("empty", json={"text": ""}).status_code == 422
    seen = attributes(traced.collector.span("empty"))
    named = ("intent", "distilled-int8")
    assert (seen["transfer.model"], seen["transfer.variant"]) == named
    entry = traced.logged("empty")
    assert (entry["model"], entry["variant"], entry["status"]) == (*named, 422)
    assert traced.ask("none", json={"text": "a", "variant": SECRET[:20]}).status_code == 404
    assert "transfer.variant" not in attributes(traced.collector.span("none"))
    assert "variant" not in traced.logged("none")


def test_the_callers_trace_goes_on_and_the_log_names_it(traced: Traced) -> None:
    traced.ask("of-a-caller", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    span = traced.collector.span("of-a-caller")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert traced.logged("of-a-caller")["trace"] == TRACE


def test_what_the_caller_does_not_sample_is_not_traced(traced: Traced) -> None:
    traced.ask("unsampled", headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
    traced.ask("after-it", headers={"traceparent": "no trace at all"})
    assert traced.collector.span("after-it").trace_id.hex() != TRACE
    assert "unsampled" not in traced.collector.spans


def test_unknown_methods_and_routes_name_no_span(traced: Traced) -> None:
    assert traced.ask("lost", f"/{SECRET}", method="PROPFIND").status_code == 404
    span = traced.collector.span("lost")
    assert span.name == "_OTHER unknown"
    assert attributes(span)["http.response.status_code"] == 404
    assert span.status.code == span.status.STATUS_CODE_UNSET


def test_no_span_has_texts_or_keys(traced: Traced) -> None:
    traced.ask("secrets")
    traced.collector.span("secrets")
    assert not any(word.encode() in traced.collector.raw for word in (SECRET, KEY))


@pytest.mark.parametrize("listens", [True, False], ids=["silent", "absent"])
def test_a_collector_that_does_not_answer_delays_nobody(
    store: Store, tmp_path: Path, listens: bool
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listens:
            silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        env = environment(
            store.home, store.lock, TRANSFER_VARIANTS="intent/full", TRANSFER_TRACES=address
        )
        with serving(tmp_path / "log.txt", env) as server:
            server.wait_until_ready()
            with httpx.Client(base_url=server.url, timeout=20) as client:
                texts = [f"send {number} dollars" for number in range(1200)]  # several batches
                found = {client.post("/classify", json={"text": t}).status_code for t in texts}
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(15) == 0
        assert found == {200}
        assert "Traceback" not in server.output()
