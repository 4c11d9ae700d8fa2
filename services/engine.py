"""The heart of the service, without HTTP: checked requests in, answers out.

It picks the variant that a request means, has its items worked on, and puts the results together.
BentoML's API methods and the HTTP edge both call `answer` and `compare`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import Any

from msgspec import UNSET

from services.compare import agreement
from services.errors import TransferError
from services.fleet import Fleet
from services.items import Say, items_of
from services.metrics import Metrics
from services.runtime import Runtime
from services.scheduler import Scheduler
from services.schemas import ClassifyRequest, CompareRequest, QaRequest, TaskRequest
from services.settings import Settings
from services.stages import stages_ms
from services.tasks.base import Result
from services.work import Done

logger = logging.getLogger("transfer")


Tell = Callable[[str, str], None]  # (model, variant)


@dataclass(slots=True)
class Answer:
    """The JSON body of an answer, and what it cost."""

    body: dict[str, Any]
    done: list[Done] = field(default_factory=list)


class Engine:
    """All loaded variants, and the scheduler in front of them."""

    def __init__(self, settings: Settings, lock: Mapping[str, str], metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.scheduler = Scheduler(settings.threads, settings.queue_tokens, settings.queue_s)
        self.fleet = Fleet(settings, lock, metrics, self.scheduler)

    def close(self) -> None:
        """Stop the threads; what runs is finished."""
        self.fleet.ready = False
        self.scheduler.close()

    # --- answers

    async def answer(
        self,
        request: TaskRequest,
        timeout_s: float = inf,
        say: Say | None = None,
        tell: Tell | None = None,
    ) -> Answer:
        """Answer a classify, qa or summarize request with one variant.

        timeout_s: what the caller allows, if that is less than the setting
        say: told, in a worker thread, what a model writes about one text while it writes
        tell: told which variant was picked, before it is asked: it may fail
        """
        runtime = self.fleet.pick(model_of(request), request.variant)
        manifest = runtime.manifest
        if tell:
            tell(manifest.model, manifest.variant)
        timeout_s = min(timeout_s, self.settings.timeout_s)
        done = await self._work(request, runtime, timeout_s, say)
        body = {
            "model": manifest.model,
            "variant": manifest.variant,
            "results": results_of(done),
            "usage": usage_of(done),
        }
        return Answer(body, done)

    async def compare(
        self, request: CompareRequest, timeout_s: float = inf, tell: Tell | None = None
    ) -> Answer:
        """Answer one request with several variants of its model, one after the other.

        tell: told the model, and "several"
        """
        asked = request.request()
        model = model_of(asked)
        runtimes = [
            self.fleet.pick(model, v) for v in request.variants or self.fleet.variants(model)
        ]
        if tell:
            tell(model, "several")
        until = perf_counter() + min(timeout_s, self.settings.timeout_s)
        all_done = [
            await self._work(asked, runtime, max(until - perf_counter(), 0.0))
            for runtime in runtimes
        ]
        rows = _rows(request.task, runtimes, all_done)
        done = [one for group in all_done for one in group]
        body = {
            "task": request.task,
            "model": model,
            "usage": usage_of(done),
            "agreement": min(row["agreement"] for row in rows),
            "variants": rows,
        }
        return Answer(body, done)

    async def _work(
        self, request: TaskRequest, runtime: Runtime, timeout_s: float, say: Say | None = None
    ) -> list[Done]:
        """Work on the items of a request; raises the content fault of a request with only one."""
        items, single = items_of(request, runtime, say)
        done = await self.scheduler.run(runtime, items, timeout_s)
        manifest = runtime.manifest
        self.metrics.worked(manifest.task, manifest.model, manifest.variant, done)
        if single and done[0].error:
            raise done[0].error
        return done


def model_of(request: TaskRequest) -> str:
    """The model a request means; one with `labels` means zeroshot."""
    if request.model is not UNSET:
        return str(request.model)
    if isinstance(request, ClassifyRequest):
        return "zeroshot" if request.labels else "intent"
    return "reader" if isinstance(request, QaRequest) else "highlights"


def results_of(done: Sequence[Done]) -> list[Result]:
    """One result for every item, in order; a content fault is `{"error": {...}}`."""
    return [one.result if one.result is not None else _fault(one.error) for one in done]


def _fault(error: TransferError | None) -> Result:
    if error is None:
        raise RuntimeError("an item ended without a result and without an error")
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


def usage_of(done: Sequence[Done]) -> dict[str, Any]:
    """What the models read, summed over the items."""
    return {
        "tokens": sum(one.tokens for one in done),
        "truncated": any(one.truncated for one in done),
        "windows": sum(one.windows for one in done),
    }


def _rows(
    task: str, runtimes: Sequence[Runtime], all_done: Sequence[Sequence[Done]]
) -> list[dict[str, Any]]:
    results = [results_of(done) for done in all_done]
    return [
        {
            "variant": runtime.manifest.variant,
            "results": found,
            "latency_ms": 1000 * sum(one.seconds for one in done),
            "stages_ms": stages_ms(done),
            "memory_mb": runtime.memory_mb,
            "agreement": agreement(task, results[0], found),
        }
        for runtime, done, found in zip(runtimes, all_done, results, strict=True)
    ]
