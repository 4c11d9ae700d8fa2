"""The heart of the service, without HTTP: checked requests in, answers out.

It loads the published variants, picks the one a request means, has its items worked on, and puts
the results together. BentoML's API methods and the HTTP edge both call `answer` and `compare`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from time import perf_counter, sleep
from typing import Any

from msgspec import UNSET

from services.compare import agreement
from services.errors import TransferError
from services.items import Say, items_of
from services.manifest import Manifest, read_manifest
from services.metrics import Metrics
from services.plan import PlanFile
from services.registry import VARIANTS, default_variant, model_entry, select, variant_path
from services.runtime import CUDA, Runtime
from services.scheduler import Scheduler
from services.schemas import ClassifyRequest, CompareRequest, QaRequest, TaskRequest
from services.settings import Settings
from services.tasks.base import Result
from services.work import Done

logger = logging.getLogger("transfer")


REST_S = 1.0  # without a request, before a plan is measured


class UnknownModelError(TransferError):
    """A model or variant that is not loaded; the hint lists those that are."""

    code = "unknown_model"
    status = 404


class NotReadyError(TransferError):
    """The variants are still being loaded."""

    code = "not_ready"
    status = 503
    retry_after_s = 1


@dataclass(slots=True)
class Answer:
    """The JSON body of an answer, and what the edge reports about it."""

    body: dict[str, Any]
    task: str
    model: str
    variant: str
    done: list[Done] = field(default_factory=list)


class Engine:
    """All loaded variants, and the scheduler in front of them."""

    def __init__(self, settings: Settings, lock: Mapping[str, str], metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.scheduler = Scheduler(settings.threads, settings.queue_tokens)
        self.plans = PlanFile(settings.plans)
        self.ready = False
        self._lock = lock
        self._runtimes: dict[str, dict[str, Runtime]] = {}
        self._published: list[Manifest] = []

    # --- life

    def load(self) -> None:
        """Load and try every chosen variant, then be ready; raises what the first fault raises."""
        runtimes: dict[str, dict[str, Runtime]] = {}
        for key in select(self._lock, self.settings.variants):
            began = perf_counter()
            runtime = Runtime.load(
                variant_path(self._lock[key]),
                self.settings.provider,
                self.settings.threads,
                self.plans,
            )
            runtime.observe = self.metrics.called
            manifest = runtime.manifest
            self._planned(runtime)
            runtimes.setdefault(manifest.model, {})[manifest.variant] = runtime
            self.metrics.loaded(manifest, runtime.provider, runtime.memory_mb)
            logger.info(
                "%s loaded in %.2f s on %s, %s",
                key,
                perf_counter() - began,
                runtime.provider,
                runtime.plan,
            )
        self._runtimes = {
            model: {variant: variants[variant] for variant in in_order(variants)}
            for model, variants in runtimes.items()
        }
        self._published = self._read_published()
        self.ready = True

    def _planned(self, runtime: Runtime) -> None:
        """Tell of a plan that is new, within the bound of the settings."""
        if most := self.settings.windows_per_call:
            runtime.plan = replace(runtime.plan, windows=min(most, runtime.plan.windows))
        self.metrics.planned(runtime.manifest, runtime.plan)

    def measure_plans(self) -> None:
        """Find a plan for every variant that has none yet; one at a time, while nobody asks."""
        for variants in self._runtimes.values():
            for runtime in variants.values():
                while not runtime.plan.windows_per_s and self._at_rest():
                    asked = self.scheduler.asked
                    plan = runtime.measure_plan(self.settings.threads)
                    if self.scheduler.asked > asked:
                        continue  # requests slowed it down
                    runtime.follow(plan)
                    self._planned(runtime)
                    self.plans.keep(runtime.plan_key(self.settings.threads), plan)
                    logger.info("%s measured: %s", runtime.key, plan)

    def _at_rest(self) -> bool:
        """Wait until nobody has asked for a while; False when the service ends."""
        asked = -1
        while self.ready and (self.scheduler.asked > asked or self.scheduler.tokens):
            asked = self.scheduler.asked
            sleep(REST_S)
        return self.ready

    def close(self) -> None:
        """Stop the threads; what runs is finished."""
        self.ready = False
        self.scheduler.close()

    # --- which variant

    def pick(self, model: str, variant: str | None) -> Runtime:
        """The runtime of a model, its default variant when none is named."""
        variants = self._variants(model)
        name = self._default(model) if variant is None else variant
        if name not in variants:
            raise UnknownModelError(
                f"{model} has no variant {name!r}.",
                f"Loaded are {', '.join(variants)}.",
                code="unknown_variant",
            )
        return variants[name]

    def _variants(self, model: str) -> dict[str, Runtime]:
        self.require_ready()
        if model not in self._runtimes:
            raise UnknownModelError(
                f"No model {model!r} is loaded.", f"Loaded are {', '.join(self._runtimes)}."
            )
        return self._runtimes[model]

    def _default(self, model: str) -> str:
        variants = self._runtimes[model]
        cuda = any(runtime.provider == CUDA for runtime in variants.values())
        return default_variant(model, variants, cuda)

    def require_ready(self) -> None:
        if not self.ready:
            raise NotReadyError("The models are being loaded.", "Try again in a second.")

    # --- answers

    async def answer(
        self, request: TaskRequest, timeout_s: float = inf, say: Say | None = None
    ) -> Answer:
        """Answer a classify, qa or summarize request with one variant.

        timeout_s: what the caller allows, if that is less than the setting
        say: told, in a worker thread, what a model writes about one text while it writes
        """
        runtime = self.pick(model_of(request), request.variant)
        timeout_s = min(timeout_s, self.settings.timeout_s)
        done = await self._work(request, runtime, timeout_s, say)
        manifest = runtime.manifest
        body = {
            "model": manifest.model,
            "variant": manifest.variant,
            "results": results_of(done),
            "usage": usage_of(done),
        }
        return Answer(body, manifest.task, manifest.model, manifest.variant, done)

    async def compare(self, request: CompareRequest, timeout_s: float = inf) -> Answer:
        """Answer one request with several variants of its model, one after the other."""
        asked = request.request()
        model = model_of(asked)
        runtimes = [self.pick(model, v) for v in request.variants or self._variants(model)]
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
        return Answer(body, request.task, model, "several", done)

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

    # --- what there is

    def models(self) -> dict[str, Any]:
        """The body of `GET /models`: what is loaded first, then what is only published."""
        rows = [
            model_entry(
                runtime.manifest,
                default=variant == self._default(model),
                memory_mb=runtime.memory_mb,
                plan=runtime.plan,
            )
            for model, variants in self._runtimes.items()
            for variant, runtime in variants.items()
        ]
        loaded = {(row["model"], row["variant"]) for row in rows}
        rest = [m for m in self._published if (m.model, m.variant) not in loaded]
        rows += [model_entry(manifest, default=False) for manifest in rest]
        return {"models": rows}

    def _read_published(self) -> list[Manifest]:
        """Manifests of all variants in the lock whose folder is still there."""
        manifests = []
        for tag in self._lock.values():
            try:
                manifests.append(read_manifest(variant_path(tag)))
            except TransferError as error:
                logger.warning("%s", error)
        return manifests


def in_order(variants: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Variants from the biggest to the smallest, unknown names last."""
    known = [variant for variant in VARIANTS if variant in variants]
    return [*known, *sorted(set(variants) - set(known))]


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
            "memory_mb": runtime.memory_mb,
            "agreement": agreement(task, results[0], found),
        }
        for runtime, done, found in zip(runtimes, all_done, results, strict=True)
    ]
