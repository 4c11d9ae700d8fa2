"""The queue in front of the runtimes: items of requests in, results out, never more than the bound.

Simple on purpose: a pool of as many threads as cores, over shared sessions (ONNX Runtime and
tokenizers release the GIL). The items of a request are worked on alone and answered together.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter
from typing import Any, Protocol

from services.errors import TransferError
from services.tasks.base import Encoded, Outputs, Result
from services.windows import Window

logger = logging.getLogger("transfer")


class OverloadError(TransferError):
    """The queue is full; come back in `retry_after_s`."""

    code = "overloaded"
    status = 429

    def __init__(self, message: str, hint: str, retry_after_s: int) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class DeadlineError(TransferError):
    """The request took longer than the setting allows."""

    code = "deadline_exceeded"
    status = 504


class Infers(Protocol):
    """What the scheduler needs of a runtime."""

    def infer(self, windows: Sequence[Window]) -> list[Outputs]: ...


@dataclass(frozen=True, slots=True)
class Item:
    """One text (or question) of a request: its two halves around the graph."""

    encode: Callable[[], Encoded]
    decode: Callable[[Any, list[Outputs]], Result]


@dataclass(slots=True)
class Done:
    """What came of one item: a result or the caller's fault, its cost, and seconds per stage."""

    result: Result | None = None
    error: TransferError | None = None
    tokens: int = 0
    windows: int = 0
    truncated: bool = False
    queue: float = 0.0
    tokenize: float = 0.0
    infer: float = 0.0
    decode: float = 0.0

    @property
    def seconds(self) -> float:
        """Time worked on the item, waiting left out."""
        return self.tokenize + self.infer + self.decode


@dataclass(slots=True)
class _Group:
    """The items of one request, answered together."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Done]]
    done: list[Done | None]
    left: int
    abandoned: bool = False
    lock: Lock = field(default_factory=Lock)

    def finish(self, index: int, done: Done) -> None:
        with self.lock:
            self.done[index] = done
            self.left -= 1
            last = self.left == 0
        if last and not self.abandoned:
            self._settle(lambda: self.future.set_result([d for d in self.done if d is not None]))

    def fail(self, error: Exception) -> None:
        self._settle(lambda: self.future.set_exception(error))

    def _settle(self, action: Callable[[], None]) -> None:
        def run() -> None:
            if not self.future.done():
                action()

        try:
            self.loop.call_soon_threadsafe(run)
        except RuntimeError:  # the loop closed while the item ran: nobody waits any more
            logger.debug("an answer came after the loop had closed")


class Scheduler:
    """A bounded queue and the threads that empty it."""

    def __init__(self, threads: int, queue_items: int) -> None:
        self.threads = threads
        self.queue_items = queue_items
        self.waiting = 0
        self.running = 0
        self._item_seconds = 0.01
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="transfer")

    async def run(self, runtime: Infers, items: Sequence[Item], timeout_s: float) -> list[Done]:
        """Work on all items; raises OverloadError at once, DeadlineError after `timeout_s`."""
        self._admit(len(items))
        loop = asyncio.get_running_loop()
        group = _Group(loop, loop.create_future(), [None] * len(items), len(items))
        entered = perf_counter()
        for index, item in enumerate(items):
            self._pool.submit(self._work, group, index, item, runtime, entered)
        try:
            async with asyncio.timeout(timeout_s):
                return await group.future
        except TimeoutError as error:
            raise DeadlineError(
                f"The answer took longer than {timeout_s:g} s.",
                "Send less text at once, or raise TRANSFER_TIMEOUT_S.",
            ) from error
        finally:
            group.abandoned = True  # items that have not begun are skipped

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _admit(self, items: int) -> None:
        with self._lock:
            taken = self.waiting + self.running
            if taken and taken + items > self.queue_items:
                seconds = taken * self._item_seconds / self.threads
                raise OverloadError(
                    f"{taken} items are waiting or running; the limit is {self.queue_items}.",
                    "Try again after the time in Retry-After.",
                    max(1, math.ceil(seconds)),
                )
            self.waiting += items

    def _work(self, group: _Group, index: int, item: Item, runtime: Infers, entered: float) -> None:
        with self._lock:
            self.waiting -= 1
            self.running += 1
        done, failure = None, None
        try:
            if not group.abandoned:
                done = work(item, runtime, entered)
        except Exception as error:
            logger.exception("an item failed")
            failure = error
        with self._lock:
            self.running -= 1
        if failure is not None:
            group.fail(failure)
        elif done is not None:
            group.finish(index, done)

    def learn(self, done: Sequence[Done]) -> None:
        """Remember how long items take, for Retry-After."""
        mean = sum(one.seconds for one in done) / max(len(done), 1)
        self._item_seconds += 0.1 * (mean - self._item_seconds)


def work(item: Item, runtime: Infers, entered: float | None = None) -> Done:
    """Encode, infer and decode one item, with the time of each; a content fault becomes `error`."""
    began = perf_counter()
    done = Done(queue=began - entered if entered is not None else 0.0)
    try:
        encoded = item.encode()
    except TransferError as error:
        done.error = error
        done.tokenize = perf_counter() - began
        return done
    tokenized = perf_counter()
    outputs = runtime.infer(encoded.windows)
    inferred = perf_counter()
    done.result = item.decode(encoded, outputs)
    done.tokenize, done.infer = tokenized - began, inferred - tokenized
    done.decode = perf_counter() - inferred
    done.tokens, done.windows = encoded.token_count, len(encoded.windows)
    done.truncated = encoded.truncated
    return done
