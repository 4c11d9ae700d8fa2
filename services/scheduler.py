"""The queue in front of the runtimes: items of requests in, results out, bounded by tokens.

    done = await scheduler.run(runtime, items, timeout_s=30)

How an item goes: `run` admits its request or refuses it at once (429); a worker thread takes it,
with as many others for the same runtime as that runtime's plan says; encodes, infers and decodes
it; and hands the result back to the event loop. A long item is cut into parts that other workers
take up. Requests are served in turn, one item of each, so that a long list delays nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock, Thread
from time import perf_counter
from typing import Any, Protocol

from services.errors import TransferError
from services.pace import Pace
from services.plan import Plan, calls_of
from services.tasks.base import Encoded, Outputs, Result
from services.windows import Window

logger = logging.getLogger("transfer")

# What one request counts towards the bound at most: a huge one must not shut out all others.
LARGEST_SHARE = 0.25


class OverloadError(TransferError):
    """Too much is waiting; come back in `retry_after_s`."""

    code = "overloaded"
    status = 429

    def __init__(self, message: str, hint: str, retry_after_s: int) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class DeadlineError(TransferError):
    """The request took longer than its deadline allows."""

    code = "deadline_exceeded"
    status = 504


class ItemFailedError(TransferError):
    """A defect met while one item was worked on; the log has its trace."""

    code = "internal"
    status = 500


class Infers(Protocol):
    """What the scheduler needs of a runtime."""

    @property
    def plan(self) -> Plan: ...

    def call(self, windows: Sequence[Window]) -> list[Outputs]:
        """Run the graph once over all windows; their outputs in order."""


@dataclass(frozen=True, slots=True)
class Item:
    """One text (or question) of a request: its two halves around the graph.

    characters: length of what is read, from which its cost is estimated
    key: items of one runtime with equal keys have equal results; None is equal to nothing
    """

    encode: Callable[[], Encoded]
    decode: Callable[[Any, list[Outputs]], Result]
    characters: int = 0
    key: Hashable = None


@dataclass(slots=True)
class Done:
    """What came of one item: a result or its fault, its cost, and seconds per stage."""

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


class _Outbox:
    """Results on their way from the workers to the event loop, which is woken once for many."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[_Task] = deque()
        self._woken = False

    def put(self, task: _Task) -> None:
        self._waiting.append(task)
        if not self._woken:
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop closed while the item ran: nobody waits any more
                logger.debug("an answer came after the loop had closed")

    def _deliver(self) -> None:
        self._woken = False  # before emptying: what is put from now on wakes the loop again
        while self._waiting:
            task = self._waiting.popleft()
            for group, index in task.waiters:
                group.finish(index, task.done)


class _Group:
    """The items of one request, answered together."""

    def __init__(self, loop: asyncio.AbstractEventLoop, items: int, deadline: float) -> None:
        self.future: asyncio.Future[list[Done]] = loop.create_future()
        self.deadline = deadline
        self.left = False
        self.waiting: deque[_Task | _Part] = deque()
        self._done: list[Done | None] = [None] * items
        self._open = items

    def wanted(self, now: float) -> bool:
        """Whether somebody still waits for the answer."""
        return not self.left and now < self.deadline

    def finish(self, index: int, done: Done) -> None:
        """In the event loop."""
        self._done[index] = done
        self._open -= 1
        if self._open == 0 and not self.future.done():
            self.future.set_result([one for one in self._done if one is not None])


@dataclass(slots=True, eq=False)
class _Task:
    """One computation; several requests may wait for it."""

    lane: _Lane
    item: Item
    cost: int
    outbox: _Outbox
    waiters: list[tuple[_Group, int]]
    entered: float
    done: Done = field(default_factory=Done)
    encoded: Encoded | None = None
    outputs: list[Outputs | None] = field(default_factory=list)
    missing: int = 0

    def wanted(self, now: float) -> bool:
        return any(group.wanted(now) for group, _ in self.waiters)


@dataclass(slots=True, eq=False)
class _Part:
    """Some windows of a long item, waiting for a worker."""

    task: _Task
    windows: list[int]
    cost: int

    def wanted(self, now: float) -> bool:
        return self.task.wanted(now)


class _Lane:
    """What waits for one runtime: its requests, in turn."""

    def __init__(self, runtime: Infers) -> None:
        self.runtime = runtime
        self.groups: deque[_Group] = deque()
        self.running = 0


class Scheduler:
    """A queue bounded by tokens, and the worker threads that empty it.

    threads: workers; queue_tokens: estimated tokens that may wait or run before new requests are
    refused
    """

    def __init__(self, threads: int, queue_tokens: int) -> None:
        self.threads = threads
        self.queue_tokens = queue_tokens
        self.pace = Pace(threads)
        self.asked = 0  # requests so far
        self.waiting = 0  # items, and parts of long ones
        self.tokens = 0  # estimated, waiting or running
        self._lanes: dict[Infers, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._in_flight: dict[tuple[int, Hashable], _Task] = {}
        self._outbox: _Outbox | None = None
        self._lock = Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._idle = 0
        self._closing = False
        self._workers = [
            Thread(target=self._serve, name=f"transfer-{number}", daemon=True)
            for number in range(threads)
        ]
        for worker in self._workers:
            worker.start()

    # --- in the event loop

    async def run(self, runtime: Infers, items: Sequence[Item], timeout_s: float) -> list[Done]:
        """Work on all items; raises OverloadError at once, DeadlineError after `timeout_s`.

        Cancelled (the client went away), it drops what has not begun.
        """
        loop = asyncio.get_running_loop()
        entered = perf_counter()
        group = _Group(loop, len(items), entered + timeout_s)
        counted = self._enter(runtime, items, group, self._outbox_of(loop), entered)
        timer = loop.call_later(timeout_s, _expire, group, timeout_s)
        try:
            return await group.future
        finally:
            timer.cancel()
            group.left = True
            with self._lock:
                self.tokens -= counted

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        with self._lock:
            self._closing = True
        for _ in self._workers:
            self._wake.put(None)
        for worker in self._workers:
            worker.join()

    def _outbox_of(self, loop: asyncio.AbstractEventLoop) -> _Outbox:
        if self._outbox is None or self._outbox.loop is not loop:
            self._outbox = _Outbox(loop)
        return self._outbox

    def _enter(
        self,
        runtime: Infers,
        items: Sequence[Item],
        group: _Group,
        outbox: _Outbox,
        entered: float,
    ) -> int:
        """Queue the items or raise OverloadError; the tokens that the request counts for."""
        costs = [self.pace.tokens(item.characters) for item in items]
        counted = min(sum(costs), max(1, int(self.queue_tokens * LARGEST_SHARE)))
        with self._lock:
            self.asked += 1
            if self.tokens and self.tokens + counted > self.queue_tokens:
                raise self._overload()
            self.tokens += counted
            lane = self._lanes.get(runtime)
            if lane is None:
                lane = self._lanes[runtime] = _Lane(runtime)
            for index, (item, cost) in enumerate(zip(items, costs, strict=True)):
                key = (id(lane), item.key)
                twin = self._in_flight.get(key) if item.key is not None else None
                if twin is not None and twin.outbox is outbox:
                    twin.waiters.append((group, index))
                    continue
                task = _Task(lane, item, cost, outbox, [(group, index)], entered)
                group.waiting.append(task)
                if item.key is not None:
                    self._in_flight[key] = task
            self._queue(lane, group, len(group.waiting))
        return counted

    def _overload(self) -> OverloadError:
        seconds = self.pace.seconds(self.tokens)
        return OverloadError(
            f"About {self.tokens} tokens are waiting or being read; the limit is "
            f"{self.queue_tokens}.",
            "Try again after the time in Retry-After.",
            max(1, math.ceil(seconds)),
        )

    # --- the queue, under the lock

    def _queue(self, lane: _Lane, group: _Group, added: int) -> None:
        """`added` tasks or parts are new in `group.waiting`."""
        if not added:
            return
        self.waiting += added
        if len(group.waiting) == added:
            lane.groups.append(group)
            if len(lane.groups) == 1:
                self._ready.append(lane)
        for _ in range(min(added, self._idle)):
            self._idle -= 1
            self._wake.put(None)

    def _take(self) -> tuple[_Lane, list[_Task | _Part]] | None:
        """The next turn: a lane, and what of it one worker works on together."""
        for _ in range(len(self._ready)):
            lane = self._ready.popleft()
            if lane.running >= lane.runtime.plan.calls:
                self._ready.append(lane)
                continue
            turn = self._fill(lane)
            if lane.groups:
                self._ready.append(lane)
            if turn:
                lane.running += 1
                return lane, turn
        return None

    def _fill(self, lane: _Lane) -> list[_Task | _Part]:
        """One item of each request in turn, as far as the plan goes; what nobody wants is dropped.

        Each worker gets its share of what waits, so that none is idle while another has a batch.
        """
        plan, now = lane.runtime.plan, perf_counter()
        most = max(1, min(plan.windows, math.ceil(self.waiting / self.threads)))
        turn: list[_Task | _Part] = []
        tokens = 0
        while lane.groups and len(turn) < most:
            group = lane.groups[0]
            work = group.waiting[0]
            if turn and tokens + work.cost > plan.tokens:
                break
            group.waiting.popleft()
            lane.groups.popleft()
            if group.waiting:
                lane.groups.append(group)
            self.waiting -= 1
            if work.wanted(now):
                tokens += work.cost
                turn.append(work)
            else:
                self._forget(work if isinstance(work, _Task) else work.task)
        return turn

    def _forget(self, task: _Task) -> None:
        """From now on an equal item is computed anew."""
        key = (id(task.lane), task.item.key)
        if self._in_flight.get(key) is task:
            del self._in_flight[key]

    # --- in a worker

    def _serve(self) -> None:
        while True:
            with self._lock:
                if self._closing:
                    return
                taken = self._take()
                if taken is None:
                    self._idle += 1
            if taken is None:
                self._wake.get()
                continue
            lane, turn = taken
            try:
                self._work(lane.runtime, turn)
            except Exception:
                logger.exception("a turn failed")
            with self._lock:
                lane.running -= 1
                if self._ready and self._idle:
                    self._idle -= 1
                    self._wake.put(None)

    def _work(self, runtime: Infers, turn: Sequence[_Task | _Part]) -> None:
        """Encode the items of a turn, run their windows together, finish what is complete."""
        plan = runtime.plan
        owned: list[tuple[_Task, int]] = []
        for work in turn:
            if isinstance(work, _Part):
                owned += [(work.task, index) for index in work.windows]
            elif self._encode(work):
                owned += [(work, index) for index in self._keep(work, plan)]
        windows = [_windows(task)[index] for task, index in owned]
        for call in calls_of([len(window) for window in windows], plan):
            self._call(runtime, [owned[i] for i in call], [windows[i] for i in call])

    def _encode(self, task: _Task) -> bool:
        """Whether there is anything to infer; a content fault ends the item."""
        began = perf_counter()
        done = task.done
        done.queue = began - task.entered
        try:
            encoded = task.item.encode()
        except TransferError as error:
            done.error = error
        except Exception as error:
            done.error = _defect(error)
        else:
            task.encoded = encoded
            task.outputs = [None] * len(encoded.windows)
            task.missing = len(encoded.windows)
            done.tokens, done.windows = encoded.token_count, len(encoded.windows)
            done.truncated = encoded.truncated
        done.tokenize = perf_counter() - began
        if done.error is not None:
            self._finish(task)
        return done.error is None

    def _keep(self, task: _Task, plan: Plan) -> list[int]:
        """The windows to run now; of a long item the rest is queued in parts for all workers."""
        windows = _windows(task)
        calls = calls_of([len(window) for window in windows], plan)
        if len(calls) == 1:
            return list(range(len(windows)))
        parts = [_Part(task, call, sum(len(windows[i]) for i in call)) for call in calls[1:]]
        group = task.waiters[0][0]
        with self._lock:
            group.waiting.extendleft(reversed(parts))
            self._queue(task.lane, group, len(parts))
        return calls[0]

    def _call(
        self, runtime: Infers, owned: Sequence[tuple[_Task, int]], windows: Sequence[Window]
    ) -> None:
        """One call of the graph; if it fails, each item alone, so that a fault stays with it."""
        began = perf_counter()
        try:
            outputs = runtime.call(windows)
        except Exception as error:
            if len(owned) > 1:
                for one, window in zip(owned, windows, strict=True):
                    self._call(runtime, [one], [window])
                return
            self._deposit(owned[0][0], owned[0][1], _defect(error), 0.0)
            return
        seconds = perf_counter() - began
        tokens = sum(map(len, windows))
        for (task, index), output, window in zip(owned, outputs, windows, strict=True):
            self._deposit(task, index, output, seconds * len(window) / tokens)

    def _deposit(
        self, task: _Task, index: int, output: Outputs | TransferError, seconds: float
    ) -> None:
        """Keep the output of one window; with the last one the item is decoded and answered."""
        done = task.done
        with self._lock:
            if isinstance(output, TransferError):
                done.error = output
            else:
                task.outputs[index] = output
            done.infer += seconds
            task.missing -= 1
            last = task.missing == 0
        if not last:
            return
        began = perf_counter()
        if done.error is None:
            try:
                done.result = task.item.decode(task.encoded, _complete(task.outputs))
            except TransferError as error:
                done.error = error
            except Exception as error:
                done.error = _defect(error)
        done.decode = perf_counter() - began
        task.encoded, task.outputs = None, []
        self.pace.learn(done.tokens, task.item.characters, done.seconds)
        self._finish(task)

    def _finish(self, task: _Task) -> None:
        with self._lock:
            self._forget(task)
        task.outbox.put(task)


def _expire(group: _Group, timeout_s: float) -> None:
    if not group.future.done():
        group.future.set_exception(
            DeadlineError(
                f"The answer took longer than {timeout_s:g} s.",
                "Send less text at once, or allow more time (X-Request-Timeout-Ms, "
                "TRANSFER_TIMEOUT_S).",
            )
        )


def _windows(task: _Task) -> list[Window]:
    assert task.encoded is not None
    return task.encoded.windows


def _complete(outputs: Sequence[Outputs | None]) -> list[Outputs]:
    return [output for output in outputs if output is not None]


def _defect(error: Exception) -> ItemFailedError:
    logger.error("an item failed", exc_info=error)
    return ItemFailedError(
        "The service failed at this item.",
        "Report it with its request_id; the log has the reason.",
    )


def work(item: Item, runtime: Infers) -> Done:
    """Encode, infer and decode one item in this thread; a content fault becomes `error`."""
    began = perf_counter()
    done = Done()
    try:
        encoded = item.encode()
    except TransferError as error:
        done.error = error
        done.tokenize = perf_counter() - began
        return done
    tokenized = perf_counter()
    outputs: list[Outputs | None] = [None] * len(encoded.windows)
    for call in calls_of([len(window) for window in encoded.windows], runtime.plan):
        found = runtime.call([encoded.windows[i] for i in call])
        for index, output in zip(call, found, strict=True):
            outputs[index] = output
    inferred = perf_counter()
    done.result = item.decode(encoded, _complete(outputs))
    done.tokenize, done.infer = tokenized - began, inferred - tokenized
    done.decode = perf_counter() - inferred
    done.tokens, done.windows = encoded.token_count, len(encoded.windows)
    done.truncated = encoded.truncated
    return done
