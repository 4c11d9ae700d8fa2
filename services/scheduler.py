"""The queue in front of the runtimes: items of requests in, results out, bounded in time.

    done = await scheduler.run(runtime, items, timeout_s=30)

How an item goes: `run` admits its request or refuses it at once (429); a worker thread takes it,
with as many others for the same runtime as that runtime's plan says; encodes, infers and decodes
it; and hands the result back to the event loop. A long item is cut into parts that other workers
take up. Requests are served in turn, one item of each, so that a long list delays nobody else.

What a model writes takes seconds. While others wait, for the same model too, such a turn goes on
for a moment at a time, and rests as long between two tokens.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Hashable, Sequence
from queue import SimpleQueue
from threading import Lock, Thread
from time import perf_counter
from weakref import WeakSet

from services.errors import TransferError
from services.pace import Lengths
from services.queued import Group, Lane, Outbox, Part, Task, Turn
from services.work import DeadlineError, Done, Infers, Item
from services.worker import Worker

logger = logging.getLogger("transfer")

# What one request counts towards the bound at most: a huge one must not shut out all others.
LARGEST_SHARE = 0.25
# A request that would take so many times its deadline, and longer than this, is not begun: a book
# of 8 MB held both cores of a small machine for its first ten seconds, and was then given up.
HOPELESS, HOPELESS_S = 2.0, 5.0
BRIEF_S = 0.01  # a turn that takes no longer may be larger than a worker's share
KNOWN = 5  # items that a model must have answered, before its pace decides that
LESS = "Send less text at once, or allow more time (X-Request-Timeout-Ms, TRANSFER_TIMEOUT_S)."


class OverloadError(TransferError):
    """Too much is waiting; come back in `retry_after_s`."""

    code = "overloaded"
    status = 429

    def __init__(self, message: str, hint: str, retry_after_s: int) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class Scheduler:
    """A bounded queue, and the worker threads that empty it.

    threads: workers; queue_tokens: estimated tokens that may wait or run before new requests are
    refused, which bounds memory; queue_s: seconds that all of it may take, each runtime's at the
    pace of its own last items, which bounds how long an overload lasts
    """

    def __init__(self, threads: int, queue_tokens: int, queue_s: float = math.inf) -> None:
        self.threads = threads
        self.queue_tokens = queue_tokens
        self.queue_s = queue_s
        self.lengths = Lengths()
        self.asked = 0  # requests so far
        self.waiting = 0  # items, and parts of long ones
        self.tokens = 0  # estimated, waiting or running
        self._lanes: dict[Infers, Lane] = {}
        self._retired: WeakSet[Infers] = WeakSet()
        self._ready: deque[Lane | Turn] = deque()  # turns that were interrupted
        self._in_flight: dict[tuple[int, Hashable], Task] = {}
        self._outbox: Outbox | None = None
        self.lock = Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._worker = Worker(self)
        self._idle = 0
        self._at_work = 0
        self._rousing: asyncio.AbstractEventLoop | None = None
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

        DeadlineError comes at once where the answer would take much longer than that.

        Cancelled (the client went away), it drops what has not begun.
        """
        loop = asyncio.get_running_loop()
        entered = perf_counter()
        group = Group(loop, len(items), entered + timeout_s)
        lane = self._enter(runtime, items, group, self._outbox_of(loop), entered)
        timer = loop.call_later(timeout_s, _expire, group, timeout_s)
        try:
            return await group.future
        finally:
            timer.cancel()
            group.left = True
            with self.lock:
                self.tokens -= group.tokens
                lane.effort -= group.effort

    def seconds(self) -> float:
        """About how long all workers need for what waits or runs."""
        with self.lock:
            return self._seconds() / self.threads

    def retire(self, runtime: Infers) -> None:
        """Forget a runtime as soon as nothing waits for it; what does is still worked on.

        A request that picked it before may still come, and finds it as it was.
        """
        with self.lock:
            self._retired.add(runtime)
            if lane := self._lanes.get(runtime):
                self._drop_if_over(lane)

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        with self.lock:
            self._closing = True
        for _ in self._workers:
            self._wake.put(None)
        for worker in self._workers:
            worker.join()

    def _outbox_of(self, loop: asyncio.AbstractEventLoop) -> Outbox:
        if self._outbox is None or self._outbox.loop is not loop:
            self._outbox = Outbox(loop)
        return self._outbox

    def _enter(
        self,
        runtime: Infers,
        items: Sequence[Item],
        group: Group,
        outbox: Outbox,
        entered: float,
    ) -> Lane:
        """Queue the items, or raise what refuses them."""
        costs = [self.lengths.tokens(item.characters) for item in items]
        effort = sum(item.effort(cost) for item, cost in zip(items, costs, strict=True))
        with self.lock:
            self.asked += 1
            lane = self._lanes.get(runtime) or Lane(runtime)
            self._refuse_hopeless(lane, sum(costs), group.deadline - entered)
            self._admit(lane, group, sum(costs), effort)
            self._lanes[runtime] = lane
            for index, (item, cost) in enumerate(zip(items, costs, strict=True)):
                key = (id(lane), item.key)
                twin = self._in_flight.get(key) if item.key is not None else None
                if twin is not None and twin.outbox is outbox:
                    twin.join(group, index)
                    continue
                task = Task(lane, item, cost, outbox, [(group, index)], entered)
                group.waiting.append(task)
                if item.key is not None:
                    self._in_flight[key] = task
            self._queue(lane, group, len(group.waiting))
            self._rouse_soon(outbox.loop)
        return lane

    def _rouse_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once for all requests that came together: a worker then finds them all.

        Woken for the first, it would run that one alone, and take the interpreter's lock from the
        loop that reads the others.
        """
        if self._rousing is not loop:
            self._rousing = loop
            loop.call_soon(self._rouse_for_all)

    def _rouse_for_all(self) -> None:
        with self.lock:
            self._rousing = None
            self._rouse(self.waiting)

    # --- the bound, under the lock

    def _refuse_hopeless(self, lane: Lane, tokens: int, timeout_s: float) -> None:
        """By what is read: what is written at most is no reason to refuse what may be short."""
        seconds = tokens / max(lane.tokens_per_second.value * self._at_once(lane), 1e-9)
        if lane.answered >= KNOWN and seconds > max(HOPELESS * timeout_s, HOPELESS_S):
            raise DeadlineError(
                f"About {tokens} tokens take this model about {seconds:.0f} s here; allowed are "
                f"{timeout_s:g}.",
                LESS,
            )

    def _admit(self, lane: Lane, group: Group, tokens: int, effort: int) -> None:
        """Count the request, or raise OverloadError when more waits than may."""
        within = self.queue_s * self._at_once(lane) / lane.seconds(1)  # effort, of it alone
        group.tokens = _share(tokens, self.queue_tokens)
        group.effort = _share(effort, within)
        if self.tokens and self.tokens + group.tokens > self.queue_tokens:
            raise self._overload(
                lane,
                f"About {self.tokens} tokens are waiting or being read; the limit is "
                f"{self.queue_tokens}.",
            )
        if self.tokens and self._seconds_with(lane, group.effort) > self.queue_s:
            raise self._overload(
                lane,
                f"What waits takes about {self._seconds_with(lane):.1f} s; the limit is "
                f"{self.queue_s:g} s.",
            )
        self.tokens += group.tokens
        lane.effort += group.effort

    def _overload(self, lane: Lane, message: str) -> OverloadError:
        seconds = max(1, math.ceil(self._seconds_with(lane)))
        return OverloadError(message, "Try again after the time in Retry-After.", seconds)

    def _seconds(self) -> float:
        """Of one worker, for what waits or runs; a lane's pace holds for all that it has."""
        return sum(lane.seconds(lane.effort) for lane in self._lanes.values() if lane.effort)

    def _seconds_with(self, lane: Lane, effort: int = 0) -> float:
        """How long what waits takes, with so much more for one lane.

        All workers share the whole, but not more of them one lane than its plan has calls.
        """
        whole = (self._seconds() + lane.seconds(effort)) / self.threads
        return max(whole, lane.seconds(lane.effort + effort) / self._at_once(lane))

    def _at_once(self, lane: Lane) -> int:
        """Workers that a lane can have at the same time."""
        return min(self.threads, lane.runtime.plan.calls)

    # --- the queue, under the lock

    def _queue(self, lane: Lane, group: Group, added: int) -> None:
        """`added` tasks or parts are new in `group.waiting`."""
        if not added:
            return
        self.waiting += added
        if len(group.waiting) == added:
            lane.groups.append(group)
            if len(lane.groups) == 1:
                self._ready.append(lane)

    def _rouse(self, most: int) -> None:
        """Wake idle workers."""
        for _ in range(min(most, self._idle)):
            self._idle -= 1
            self._wake.put(None)

    def _take(self) -> Turn | None:
        """The next turn of a lane, or the rest of one that was interrupted."""
        resting = None
        for _ in range(len(self._ready)):
            first = self._ready.popleft()
            if isinstance(first, Turn):
                if not first.lane.free():
                    self._ready.append(first)
                    continue
                if perf_counter() >= first.rests_until:
                    return _run(first)
                self._ready.append(first)
                resting = resting or first
                continue
            if self._closing:
                continue
            if not first.free() or not first.may_begin():
                self._ready.append(first)
                continue
            turn = self._fill(first)
            if first.groups:
                self._ready.append(first)
            elif not turn.work:
                self._drop_if_over(first)
            if turn.work:
                first.begin(turn)
                return _run(turn)
        if resting is not None:
            self._ready.remove(resting)
            return _run(resting)
        return None

    def _fill(self, lane: Lane) -> Turn:
        """One item of each request in turn, as far as the plan goes; what nobody wants is dropped.

        Each worker gets its share of what waits, so that none is idle while another has a batch.
        Those at work come too late for what is done in a moment: of that the others have more.
        (Shared by all, calls of short texts were half as large under load, and each text took a
        tenth more of a core.)
        """
        plan, now = lane.runtime.plan, perf_counter()
        share = self._each(self._at_once(lane))
        brief = self._each(min(self.threads - self._at_work, plan.calls - lane.running))
        most = max(1, min(plan.windows, brief))
        turn = Turn(lane, [], [])
        held = lane.hold_back()
        tokens = effort = 0
        while lane.groups and len(turn.work) < most:
            group = lane.groups[0]
            work = group.waiting[0]
            begun = isinstance(work, Task) and work.begun  # in the place of a twin
            if turn.work and tokens + work.cost > plan.tokens and not begun:
                break
            if len(turn.work) >= share and lane.seconds(effort + work.effort) > BRIEF_S:
                break
            group.waiting.popleft()
            lane.groups.popleft()
            if group.waiting:
                lane.groups.append(group)
            self.waiting -= 1
            if begun:
                continue
            if isinstance(work, Task):
                work.begun = True
            if work.wanted(now):
                tokens += work.cost
                effort += work.effort
                turn.work.append(work)
                turn.groups.append(group)
            else:
                self._forget(work if isinstance(work, Task) else work.task)
        lane.groups.extend(held)
        return turn

    def _each(self, workers: int) -> int:
        """Items for each of so many workers."""
        return math.ceil(self.waiting / max(1, workers))

    def _drop_if_over(self, lane: Lane) -> None:
        """Let go of a lane whose runtime is retired, and with it of the runtime's graphs."""
        if lane.runtime in self._retired and not lane.groups and not lane.turns:
            self._lanes.pop(lane.runtime, None)

    def _forget(self, task: Task) -> None:
        """From now on an equal item is computed anew."""
        key = (id(task.lane), task.item.key)
        if self._in_flight.get(key) is task:
            del self._in_flight[key]

    # --- in a worker

    def _serve(self) -> None:
        while True:
            with self.lock:
                turn = self._take()
                if turn is None:
                    if self._closing:
                        return
                    self._idle += 1
                else:
                    self._at_work += 1
            if turn is None:
                self._wake.get()
                continue
            finished = True
            try:
                finished = self._worker.work(turn)
            except Exception:
                logger.exception("a turn failed")
            with self.lock:
                self._at_work -= 1
                turn.lane.running -= 1
                if finished:
                    turn.lane.end(turn)
                    self._drop_if_over(turn.lane)
                else:
                    self._ready.append(turn)
                if self._ready:
                    self._rouse(1)

    # --- the worker's desk

    def queue_parts(self, task: Task, parts: Sequence[Part]) -> None:
        group = task.waiters[0][0]
        with self.lock:
            group.waiting.extendleft(reversed(parts))
            self._queue(task.lane, group, len(parts))
            self._rouse(len(parts))

    def others_wait(self, turn: Turn) -> bool:
        with self.lock:
            return not self._closing and any(
                one.lane.free(left=turn.lane)
                if isinstance(one, Turn)
                else one.free(left=turn.lane) and one.may_begin()
                for one in self._ready
            )

    def unwanted(self, task: Task) -> bool:
        with self.lock:
            unwanted = not task.wanted(perf_counter())
            if unwanted:
                self._forget(task)
        return unwanted

    def finish(self, task: Task) -> None:
        with self.lock:
            self._forget(task)
        task.outbox.put(task)


def _run(turn: Turn) -> Turn:
    """A worker is at it from now on."""
    turn.lane.running += 1
    return turn


def _share(counted: int, most: float) -> int:
    """What one request counts for where `most` may wait."""
    return counted if counted <= LARGEST_SHARE * most else max(1, int(LARGEST_SHARE * most))


def _expire(group: Group, timeout_s: float) -> None:
    if not group.future.done():
        group.future.set_exception(_late(timeout_s))


def _late(timeout_s: float) -> DeadlineError:
    return DeadlineError(f"The answer took longer than {timeout_s:g} s.", LESS)
