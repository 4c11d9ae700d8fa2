"""The variants that this service has loaded: which answers, and how each is best called.

They are loaded from the store by the lock's tags, replaced while requests go on (`reload`), and
measured while nobody asks (`measure_plans`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from time import perf_counter, sleep
from typing import Any

from services.errors import ArtifactError, NotReadyError, TransferError
from services.lock import VARIANTS, default_variant, select
from services.manifest import AGAIN, MANIFEST_NAME, Manifest, read_manifest
from services.memory import give_back
from services.metrics import Metrics
from services.plan import PlanFile
from services.registry import model_entry, variant_path
from services.runtime import CUDA, Runtime
from services.scheduler import Scheduler
from services.settings import Settings

logger = logging.getLogger("transfer")

REST_S = 1.0  # without a request, before a plan is measured

Loaded = dict[str, dict[str, Runtime]]  # by model and variant


class UnknownModelError(TransferError):
    """A model or variant that is not loaded; the hint lists those that are."""

    code = "unknown_model"
    status = 404


class Fleet:
    """The loaded variants by model, biggest first; all methods from any thread.

    lock: "model/variant" to tag, of what is published
    """

    def __init__(
        self, settings: Settings, lock: Mapping[str, str], metrics: Metrics, scheduler: Scheduler
    ) -> None:
        self.ready = False
        self.draining = False
        self._settings = settings
        self._metrics = metrics
        self._scheduler = scheduler
        self._plans = PlanFile(settings.plans)
        self._lock = lock
        self._changing, self._measuring = Lock(), Lock()
        self._loaded: Loaded = {}
        self._published: list[Manifest] = []

    # --- life

    def load(self) -> None:
        """Load and try every chosen variant, then be ready; raises what the first fault raises."""
        with self._changing:
            self._serve(self._load_all(self._lock, {}))
            give_back()
            self.ready = True

    def reload(self, lock: Mapping[str, str]) -> list[str]:
        """Serve what `lock` names now; the keys that are new or have changed.

        Variants that stay are not touched, and requests in flight end on those they began with.
        Raises what the first fault raises; then everything stays as it was.
        """
        with self._changing:
            known = {self._lock[runtime.key]: runtime for runtime in _all(self._loaded)}
            loaded = self._load_all(lock, known)
            self._lock = lock
            new = [runtime.key for runtime in self._serve(loaded)]
        give_back()
        return new

    def _load_all(self, lock: Mapping[str, str], known: Mapping[str, Runtime]) -> Loaded:
        """The chosen variants of a lock; those in `known`, by tag, as they are."""
        loaded: Loaded = {}
        for key in select(lock, self._settings.variants):
            runtime = known.get(lock[key]) or self._load_one(key, lock[key])
            manifest = runtime.manifest
            loaded.setdefault(manifest.model, {})[manifest.variant] = runtime
        return {
            model: {variant: variants[variant] for variant in in_order(variants)}
            for model, variants in loaded.items()
        }

    def _load_one(self, key: str, tag: str) -> Runtime:
        began = perf_counter()
        folder = variant_path(tag)
        runtime = Runtime.load(folder, self._settings.provider, self._settings.threads, self._plans)
        if runtime.key != key:
            raise ArtifactError(
                f"{folder / MANIFEST_NAME} is of {runtime.key}; the lock file names it {key}.",
                AGAIN,
            )
        runtime.observe = self._metrics.called
        seconds = perf_counter() - began
        place = f"{key} loaded in {seconds:.2f} s on {runtime.provider}"
        logger.info("%s, %s", place, runtime.plan)
        return runtime

    def _serve(self, loaded: Loaded) -> list[Runtime]:
        """From now on; those that are new."""
        before, now = set(_all(self._loaded)), set(_all(loaded))
        self._loaded = loaded
        self._published = self._read_published()
        for runtime in before - now:
            self._scheduler.retire(runtime)
            self._metrics.retired(runtime.manifest)
        new = [runtime for runtime in _all(loaded) if runtime not in before]
        for runtime in new:
            self._planned(runtime)
            self._metrics.loaded(runtime.manifest, runtime.provider, runtime.memory_mb)
        return new

    def _planned(self, runtime: Runtime) -> None:
        """Tell of a plan that is new, within the bound of the settings."""
        if most := self._settings.windows_per_call:
            runtime.plan = replace(runtime.plan, windows=min(most, runtime.plan.windows))
        self._metrics.planned(runtime.manifest, runtime.plan)

    def measure_plans(self) -> None:
        """Find a plan for every variant that has none yet; one at a time, while nobody asks.

        One that cannot be measured is served as before, and told of in a line of the log.
        """
        with self._measuring:
            for runtime in _all(self._loaded):
                try:
                    while self._lacks_plan(runtime) and self._at_rest():
                        self._measure(runtime)
                except Exception as error:  # onnxruntime has no common base class
                    reason = str(error).partition("\n")[0] or repr(error)
                    logger.error("%s goes on without a measured plan: %s", runtime.key, reason)

    def _lacks_plan(self, runtime: Runtime) -> bool:
        """Whether it has none and is still served."""
        return not runtime.plan.windows_per_s and runtime in _all(self._loaded)

    def _measure(self, runtime: Runtime) -> None:
        cores, asked = self._settings.threads, self._scheduler.asked
        plan = runtime.measure_plan(cores)
        if self._scheduler.asked > asked or not self._lacks_plan(runtime):
            return  # requests slowed it down, or it was replaced
        runtime.follow(plan)
        self._planned(runtime)
        self._plans.keep(runtime.plan_key(cores), plan)
        give_back()
        logger.info("%s measured: %s", runtime.key, plan)

    def _at_rest(self) -> bool:
        """Wait until nobody has asked for a while; False when the service ends."""
        asked = -1
        while self.ready and (self._scheduler.asked > asked or self._scheduler.tokens):
            asked = self._scheduler.asked
            sleep(REST_S)
        return self.ready

    # --- which variant

    def pick(self, model: str, variant: str | None) -> Runtime:
        """The runtime of a model, its default variant when none is named."""
        variants = self.variants(model)
        name = self._default(model) if variant is None else variant
        if name not in variants:
            raise UnknownModelError(
                f"{model} has no variant {name!r}.",
                f"Loaded are {', '.join(variants)}.",
                code="unknown_variant",
            )
        return variants[name]

    def variants(self, model: str) -> dict[str, Runtime]:
        self.require_ready()
        if model not in self._loaded:
            raise UnknownModelError(
                f"No model {model!r} is loaded.", f"Loaded are {', '.join(self._loaded)}."
            )
        return self._loaded[model]

    def _default(self, model: str) -> str:
        variants = self._loaded[model]
        cuda = any(runtime.provider == CUDA for runtime in variants.values())
        return default_variant(model, variants, cuda)

    def drain(self) -> None:
        """Be unready for those who ask whether it is; requests are still answered."""
        self.draining = True

    def require_ready(self) -> None:
        if not self.ready:
            raise NotReadyError("The models are being loaded.", "Try again in a second.")

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
            for model, variants in self._loaded.items()
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


def _all(loaded: Loaded) -> Iterator[Runtime]:
    for variants in loaded.values():
        yield from variants.values()


def in_order(variants: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Variants from the biggest to the smallest, unknown names last."""
    known = [variant for variant in VARIANTS if variant in variants]
    return [*known, *sorted(set(variants) - set(known))]
