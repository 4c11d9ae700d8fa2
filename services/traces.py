"""Traces by OpenTelemetry, sent over OTLP/HTTP to the collector of TRANSFER_TRACES; off without it.

A request is one span of kind SERVER, child of the caller's `traceparent`, with the tokens that it
read and the milliseconds of each stage (attributes and no spans: those of a list overlap).
Never a text, a key or an address.

What OpenTelemetry's own variables say holds (OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES,
OTEL_EXPORTER_OTLP_HEADERS, ...): https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from threading import Thread
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.errors import UsageError
from services.stages import stages_ms

if TYPE_CHECKING:
    from services.engine import Answer
    from services.gate import Visit

SERVICE = "transfer"
METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}
)
ANY_METHOD = "_OTHER"  # OpenTelemetry's word for one that a caller invented
LAST_S = 3.0  # at the end; part of what `terminationGracePeriodSeconds` must be enough for
SEND_S = 2.0  # a batch that the collector does not take within this time is lost
_propagator = TraceContextTextMapPropagator()


class Traces:
    """Makes spans of answered requests; another thread sends them, in batches."""

    def __init__(self, exporter: SpanExporter) -> None:
        resource = Resource.create()  # with OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("services.traces")

    def record(self, visit: Visit, status: int, answer: Answer | None) -> str:
        """The span of a request that ends now; its trace id in hex, "" where it is not sampled."""
        ended = time_ns()
        method = visit.method if visit.method in METHODS else ANY_METHOD
        span = self._tracer.start_span(
            f"{method} {visit.route}",
            _propagator.extract({"traceparent": visit.traceparent}),
            SpanKind.SERVER,
            start_time=ended - int(1e9 * visit.seconds),
        )
        if not span.is_recording():
            return ""
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": visit.route,
                "http.response.status_code": status,
                "transfer.request_id": visit.request_id,
            }
        )
        if visit.model:
            span.set_attribute("transfer.model", visit.model)
            span.set_attribute("transfer.variant", visit.variant)
        if answer and answer.done:
            span.set_attributes(_work(answer))
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(StatusCode.ERROR)
        span.end(ended)
        return format_trace_id(span.get_span_context().trace_id)

    def close(self) -> None:
        """Send what is left for `LAST_S` at most; what a dead collector has not taken is lost."""
        ending = Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(LAST_S)


def traces_to(collector: str) -> Traces:
    """Traces for the collector at this address, e.g. http://localhost:4318."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise UsageError(
            f"TRANSFER_TRACES is {collector!r}, and OpenTelemetry's exporter is not installed.",
            "pip install opentelemetry-exporter-otlp-proto-http, or unset it.",
        ) from error
    return Traces(OTLPSpanExporter(f"{collector.rstrip('/')}/v1/traces", timeout=SEND_S))


def _work(answer: Answer) -> dict[str, Any]:
    done = answer.done
    return {
        "transfer.items": len(done),
        "transfer.tokens": sum(one.tokens for one in done),
        "transfer.windows": sum(one.windows for one in done),
        **{f"transfer.{name}_ms": round(spent, 3) for name, spent in stages_ms(done).items()},
    }
