"""The instruments of the service, and the text that Prometheus reads on `GET /metrics`.

A request touches a dozen of them, so they are plain counters in this process; prometheus_client
puts them into its text format when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from threading import Lock
from time import time
from typing import TYPE_CHECKING, Any

from services.gpu import MB, NoDeviceError, device_memory
from services.registry import graph_sha256

if TYPE_CHECKING:
    from services.manifest import Manifest
    from services.plan import Plan
    from services.work import Done

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
SIZES = (1, 2, 4, 8, 16, 32, 64)
VARIANT = ("task", "model", "variant")
Labels = tuple[str, ...]


class Numbers:
    """A counter or gauge: one number for each set of label values."""

    def __init__(self, name: str, text: str, labels: Labels = ()) -> None:
        self.name, self.text, self.labels = f"transfer_{name}", text, labels
        self.values: dict[Labels, float] = {}

    def add(self, *labels: str, amount: float = 1.0) -> None:
        self.values[labels] = self.values.get(labels, 0.0) + amount

    def set(self, *labels: str, value: float) -> None:
        self.values[labels] = value


class Spread:
    """A histogram: counts by bucket, and the sum, for each set of label values."""

    def __init__(self, name: str, text: str, buckets: Sequence[float], labels: Labels = ()) -> None:
        self.name, self.text, self.labels = f"transfer_{name}", text, labels
        self.buckets = buckets
        self.values: dict[Labels, tuple[list[int], list[float]]] = {}

    def observe(self, value: float, *labels: str) -> None:
        found = self.values.get(labels)
        if found is None:
            found = self.values[labels] = ([0] * (len(self.buckets) + 1), [0.0])
        counts, total = found
        counts[bisect_left(self.buckets, value)] += 1
        total[0] += value


class Metrics:
    """Names, labels and units as the design fixes them; label values are bounded.

    The event loop alone calls all methods but `called`.
    """

    def __init__(self) -> None:
        described = (*VARIANT, "base", "precision", "provider", "sha256")
        self.requests = Numbers("requests", "Answered requests", (*VARIANT, "status"))
        self.request_seconds = Spread("request_seconds", "Time to answer", SECONDS, VARIANT)
        self.stage_seconds = Spread("stage_seconds", "Time by stage", SECONDS, ("task", "stage"))
        self.tokens = Numbers("tokens", "Tokens read by the models", VARIANT)
        self.batch_tokens = Spread("batch_tokens", "Tokens of one call of a graph", TOKENS)
        self.batch_size = Spread("batch_size", "Windows of one call of a graph", SIZES)
        self.queue_depth = Numbers("queue_depth", "Items that wait")
        self.queue_tokens = Numbers("queue_tokens", "Estimated tokens that wait or are being read")
        self.queue_seconds = Numbers(
            "queue_seconds", "Estimated time until the queue is worked off"
        )
        self.in_flight = Numbers("in_flight", "Task requests being answered")
        self.rejected = Numbers("rejected", "Refused requests", ("reason",))
        self.memory = Numbers("model_memory_bytes", "Memory added by loading", ("model", "variant"))
        self.info = Numbers("model_info", "1 for every loaded variant", described)
        self.plan = Numbers(
            "model_plan", "How the graph is called here", ("model", "variant", "setting")
        )
        self.started = Numbers("start_time_seconds", "Unix time of this worker's start")
        self.started.set(value=time())
        self.device_memory = Numbers(
            "gpu_memory_bytes", "The CUDA device's memory, used by all processes", ("state",)
        )
        self._on_cuda = False
        self._lock = Lock()

    def loaded(self, manifest: Manifest, provider: str, memory_mb: float) -> None:
        """Tell about one variant that is ready."""
        self._on_cuda |= provider == "CUDAExecutionProvider"
        self.memory.set(manifest.model, manifest.variant, value=memory_mb * 1e6)
        self.info.set(
            manifest.task,
            manifest.model,
            manifest.variant,
            manifest.base.id,
            manifest.precision,
            provider,
            graph_sha256(manifest),
            value=1.0,
        )

    def retired(self, manifest: Manifest) -> None:
        """Forget a variant that is not served any more."""
        own = (manifest.model, manifest.variant)
        for numbers in (self.memory, self.info, self.plan):
            at = numbers.labels.index("model")
            for labels in list(numbers.values):
                if labels[at : at + 2] == own:
                    del numbers.values[labels]

    def planned(self, manifest: Manifest, plan: Plan) -> None:
        """Tell how a variant is called."""
        for setting in ("calls", "threads", "windows", "tokens", "padding"):
            value = float(getattr(plan, setting))
            self.plan.set(manifest.model, manifest.variant, setting, value=value)

    def called(self, windows: int, tokens: int) -> None:
        """Tell about one call of a graph; from any thread."""
        with self._lock:
            self.batch_size.observe(windows)
            self.batch_tokens.observe(tokens)

    def worked(self, task: str, model: str, variant: str, done: Sequence[Done]) -> None:
        """Tell what the items of a request cost."""
        self.tokens.add(task, model, variant, amount=sum(one.tokens for one in done))
        observe = self.stage_seconds.observe
        for one in done:
            observe(one.queue, task, "queue")
            observe(one.tokenize, task, "tokenize")
            observe(one.infer, task, "infer")
            observe(one.decode, task, "decode")

    def answered(self, task: str, model: str, variant: str, status: int, seconds: float) -> None:
        """Tell about the end of a task request."""
        self.requests.add(task, model, variant, str(status))
        self.request_seconds.observe(seconds, task, model, variant)

    def exposition(self) -> bytes:
        """The text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def _look_at_device(self) -> None:
        """Ask the driver, which takes microseconds; what it does not tell is left out."""
        try:
            used_mb, total_mb = device_memory()
        except NoDeviceError:
            self.device_memory.values.clear()
            return
        self.device_memory.set("used", value=used_mb * MB)
        self.device_memory.set("total", value=total_mb * MB)

    def collect(self) -> Iterator[Any]:
        """All instruments, for prometheus_client."""
        if self._on_cuda:
            self._look_at_device()
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for counter in (self.requests, self.tokens, self.rejected):
            yield _family(CounterMetricFamily, counter)
        for gauge in (
            self.queue_depth,
            self.queue_tokens,
            self.queue_seconds,
            self.in_flight,
            self.memory,
            self.info,
            self.plan,
            self.started,
            self.device_memory,
        ):
            yield _family(GaugeMetricFamily, gauge)
        for spread in (
            self.request_seconds,
            self.stage_seconds,
            self.batch_tokens,
            self.batch_size,
        ):
            family = HistogramMetricFamily(spread.name, spread.text, labels=spread.labels)
            for labels, (counts, total) in list(spread.values.items()):
                family.add_metric(labels, _cumulated(spread.buckets, counts), total[0])
            yield family


def _family(kind: Any, numbers: Numbers) -> Any:
    family = kind(numbers.name, numbers.text, labels=numbers.labels)
    for labels, value in list(numbers.values.items()):
        family.add_metric(labels, value)
    return family


def _cumulated(buckets: Sequence[float], counts: Sequence[int]) -> list[tuple[str, int]]:
    """Prometheus counts in each bucket what is at most its bound."""
    found, below = [], 0
    for bound, count in zip((*buckets, float("inf")), counts, strict=True):
        below += count
        found.append(("+Inf" if bound == float("inf") else str(float(bound)), below))
    return found
