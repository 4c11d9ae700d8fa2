"""The BentoML service: what `bentoml serve`, `build` and `containerize` work on.

    bentoml serve services.app:Transfer --port 3000

HTTP itself is answered by `services.edge` in front of it; both call the same engine.
"""

# ruff: noqa: E402 - BentoML reads its environment when it is imported
# mypy: disallow-untyped-decorators=False, disable-error-code="attr-defined"
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.settings import Settings, prepare_bentoml

prepare_bentoml()

import asyncio
import logging
import threading

import bentoml

from services.edge import Edge
from services.errors import TransferError
from services.gate import Gate
from services.lifecycle import (
    end_in_peace,
    end_with,
    end_worker,
    on_signal,
    spare_the_collector,
    supervise,
)
from services.metrics import Metrics
from services.packaging import (
    available,
    gpu_resources,
    models_to_package,
    use_configured_store,
)
from services.protocol import BoundedProtocol, use_bounded_heads
from services.running import RELOAD, mark_running
from services.schemas import (
    ClassifyRequest,
    CompareRequest,
    QaRequest,
    SummarizeRequest,
)

if TYPE_CHECKING:
    from services.engine import Engine

logger = logging.getLogger("transfer")
use_configured_store()
use_bounded_heads()


@bentoml.service(
    workers=1,  # one process: its threads share the sessions
    traffic={"timeout": 3600},  # ours is TRANSFER_TIMEOUT_S
    metrics={"enabled": False},  # ours are on /metrics
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": [".*"]},
    **gpu_resources(),
)
class Transfer:
    """Fine-tuned and distilled language models: classify, answer questions, summarize, compare."""

    def __init__(self) -> None:
        # Here: the supervisor needs no onnxruntime.
        from services.engine import Engine
        from services.providers import limit_gpu_memory

        try:
            settings = Settings.from_environment()
            lock = available(settings, Transfer.bento)
        except TransferError as error:
            end_worker(error)
        BoundedProtocol.head_timeout_s = settings.body_timeout_s
        logger.setLevel(logging.INFO)
        limit_gpu_memory(settings.gpu_memory_mb)
        self.engine = Engine(settings, lock, Metrics())
        # In a thread, so that /livez and /readyz answer while the variants are loaded.
        threading.Thread(target=self._load, name="transfer-load", daemon=True).start()
        self._mark = mark_running(settings)
        on_signal(RELOAD, self._reload)
        end_in_peace(settings.drain_s, self.engine.fleet.drain)

    def _load(self) -> None:
        try:
            self.engine.fleet.load()
        except Exception as error:
            end_worker(error)
        spare_the_collector()
        self.engine.fleet.measure_plans()

    def _reload(self) -> None:
        try:
            new = self.engine.fleet.reload(available(self.engine.settings, Transfer.bento))
        except TransferError as error:
            logger.error("nothing was reloaded: %s", error)
            return
        logger.info("reloaded: %s", ", ".join(new) or "nothing new")
        spare_the_collector()
        self.engine.fleet.measure_plans()

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """In the supervisor, before any worker: settings, lock and keys are whole, or exit 1."""
        try:
            settings = Settings.from_environment()
            available(settings, Transfer.bento)
            Gate(settings)
        except TransferError as error:
            end_with(error)
        supervise()

    @bentoml.on_shutdown
    async def close(self) -> None:
        """Let what runs finish."""
        self._mark.unlink(missing_ok=True)
        await asyncio.to_thread(self.engine.close)

    @bentoml.api
    async def classify(self, body: ClassifyRequest, /) -> dict[str, Any]:
        """Label one text or several; with `labels`, by any names."""
        return (await self.engine.answer(body)).body

    @bentoml.api
    async def qa(self, body: QaRequest, /) -> dict[str, Any]:
        """Answer questions from documents, with exact offsets, or say that there is no answer."""
        return (await self.engine.answer(body)).body

    @bentoml.api
    async def summarize(self, body: SummarizeRequest, /) -> dict[str, Any]:
        """Choose the sentences of a text that say most."""
        return (await self.engine.answer(body)).body

    @bentoml.api
    async def compare(self, body: CompareRequest, /) -> dict[str, Any]:
        """Run one input through several variants of its model."""
        return (await self.engine.compare(body)).body


def running_engine() -> Engine:
    """The engine of the service that runs in this process."""
    engine: Engine = bentoml.get_current_service().engine
    return engine


Transfer.models.extend(models_to_package())
Transfer.add_asgi_middleware(Edge, engine=running_engine)
