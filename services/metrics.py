"""The instruments of the service, and the text that Prometheus reads on `GET /metrics`.

Created once in the service's `__init__`: BentoML sets PROMETHEUS_MULTIPROC_DIR before a worker
starts, and prometheus_client must be imported after that or its values are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from services.settings import several_processes

if TYPE_CHECKING:
    from services.manifest import Manifest
    from services.scheduler import Done

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
SIZES = (1, 2, 4, 8, 16, 32, 64)
STAGES = ("queue", "tokenize", "infer", "decode")


class Metrics:
    """Names, labels and units as the design fixes them; label values are bounded."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = registry = CollectorRegistry()

        def count(name: str, text: str, labels: Sequence[str]) -> Counter:
            return Counter(f"transfer_{name}", text, labels, registry=registry)

        def spread(
            name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()
        ) -> Histogram:
            return Histogram(f"transfer_{name}", text, labels, buckets=buckets, registry=registry)

        def now(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
            # A worker that was replaced leaves its values behind: only the latest ones count.
            mode: Literal["livemostrecent"] = "livemostrecent"
            return Gauge(
                f"transfer_{name}", text, labels, registry=registry, multiprocess_mode=mode
            )

        variant = ("task", "model", "variant")
        described = (*variant, "base", "precision", "provider", "sha256")
        self.requests = count("requests_total", "Answered requests", (*variant, "status"))
        self.request_seconds = spread("request_seconds", "Time to answer", SECONDS, variant)
        self.stage_seconds = spread("stage_seconds", "Time by stage", SECONDS, ("task", "stage"))
        self.tokens = count("tokens_total", "Tokens read by the models", variant)
        self.batch_tokens = spread("batch_tokens", "Tokens of one call of a graph", TOKENS)
        self.batch_size = spread("batch_size", "Windows of one call of a graph", SIZES)
        self.queue_depth = now("queue_depth", "Items that wait")
        self.in_flight = now("in_flight", "Task requests being answered")
        self.rejected = count("rejected_total", "Refused requests", ("reason",))
        self.memory = now("model_memory_bytes", "Memory added by loading", ("model", "variant"))
        self.info = now("model_info", "1 for every loaded variant", described)

    def loaded(self, manifest: Manifest, provider: str, memory_mb: float) -> None:
        """Tell about one variant that is ready."""
        self.memory.labels(manifest.model, manifest.variant).set(memory_mb * 1e6)
        graph = next(file.sha256 for file in manifest.files if file.path == "model.onnx")
        self.info.labels(
            manifest.task,
            manifest.model,
            manifest.variant,
            manifest.base.id,
            manifest.precision,
            provider,
            graph,
        ).set(1)

    def called(self, windows: int, tokens: int) -> None:
        """Tell about one call of a graph."""
        self.batch_size.observe(windows)
        self.batch_tokens.observe(tokens)

    def worked(self, task: str, model: str, variant: str, done: list[Done]) -> None:
        """Tell what the items of a request cost."""
        self.tokens.labels(task, model, variant).inc(sum(one.tokens for one in done))
        for stage in STAGES:
            observe: Callable[[float], None] = self.stage_seconds.labels(task, stage).observe
            for one in done:
                observe(getattr(one, stage))

    def answered(self, task: str, model: str, variant: str, status: int, seconds: float) -> None:
        """Tell about the end of a task request."""
        self.requests.labels(task, model, variant, str(status)).inc()
        self.request_seconds.labels(task, model, variant).observe(seconds)

    def exposition(self) -> bytes:
        """The text format, of all processes of this service."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if not several_processes():
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
