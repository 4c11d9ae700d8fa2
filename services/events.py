"""Server-sent events of a summary while it is made.

    event: token      data: {"text": "..."}      a model that writes: its next words
    event: sentence   data: {...}                a model that chooses: a sentence of the text
    event: result     data: {...}                the whole answer, at last
    event: error      data: {"error": {...}}     instead of it, once events have been sent

The texts of all `token` events, joined, are the summary.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from services.schemas import SummarizeRequest

if TYPE_CHECKING:
    from services.engine import Answer, Engine, Tell

logger = logging.getLogger("transfer")


@dataclass(slots=True)
class Event:
    """One event; `answer` once it is complete."""

    name: str
    data: dict[str, Any]
    answer: Answer | None = None

    def encode(self) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (self.name.encode(), msgspec.json.encode(self.data))


async def events_of(
    engine: Engine, request: SummarizeRequest, timeout_s: float, tell: Tell | None = None
) -> AsyncGenerator[Event, None]:
    """The events of one answer; raises what `Engine.answer` raises, at first or on the way.

    Closed early (the client went away), it cancels the work.
    """
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def say(piece: str) -> None:
        try:
            loop.call_soon_threadsafe(heard.put_nowait, piece)
        except RuntimeError:  # the loop has closed: nobody listens any more
            logger.debug("words came after the loop had closed")

    work = loop.create_task(engine.answer(request, timeout_s, say, tell))
    work.add_done_callback(lambda _: heard.put_nowait(None))
    silent = True
    try:
        while (piece := await heard.get()) is not None:
            silent = False
            yield Event("token", {"text": piece})
        answer = await work
        [result] = answer.body["results"]
        for sentence in result["sentences"]:
            yield Event("sentence", sentence, answer)
        if silent and not result["sentences"] and result["summary"]:
            yield Event("token", {"text": result["summary"]}, answer)
        yield Event("result", answer.body, answer)
    finally:
        work.cancel()
