"""What waits in the scheduler: requests with their tasks, the parts of long ones, and turns."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from services.pace import FIRST, Ratio
from services.plan import SHORT, Plan
from services.tasks.base import Encoded, Outputs
from services.windows import Window
from services.work import DeadlineError, Done, Infers, Item, Stepwise, Writes

logger = logging.getLogger("transfer")

OPEN_CALLS = 2  # times the calls of a plan, that what is being written may take of memory
FIRST_S = 0.1  # of work that weighs as much as what is believed of a model at first


class Outbox:
    """Results on their way from the workers to the event loop, which is woken once for many."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[Task] = deque()
        self._woken = False

    def put(self, task: Task) -> None:
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


class Group:
    """The items of one request, answered together.

    tokens, effort: what it counts for in the bound of the queue
    begun: turns with items of it that have not ended
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, items: int, deadline: float) -> None:
        self.future: asyncio.Future[list[Done]] = loop.create_future()
        self.deadline = deadline
        self.left = False
        self.tokens = 0
        self.effort = 0
        self.begun = 0
        self.waiting: deque[Task | Part] = deque()
        self._done: list[Done | None] = [None] * items
        self._open = items

    def wanted(self, now: float) -> bool:
        """Whether somebody still waits for the answer."""
        return not self.left and now < self.deadline

    def finish(self, index: int, done: Done) -> None:
        """In the event loop; of what was given up the request's own timer tells in a moment."""
        if isinstance(done.error, DeadlineError):
            return
        self._done[index] = done
        self._open -= 1
        if self._open == 0 and not self.future.done():
            self.future.set_result([one for one in self._done if one is not None])


@dataclass(slots=True, eq=False)
class Task:
    """One computation; several requests may wait for it, each in its own place.

    begun: taken by a worker, or dropped
    """

    lane: Lane
    item: Item
    cost: int
    outbox: Outbox
    waiters: list[tuple[Group, int]]
    entered: float
    done: Done = field(default_factory=Done)
    encoded: Encoded | None = None
    outputs: list[Outputs | None] = field(default_factory=list)
    missing: int = 0
    begun: bool = False

    @property
    def windows(self) -> list[Window]:
        """Of the encoded item."""
        assert self.encoded is not None
        return self.encoded.windows

    @property
    def effort(self) -> int:
        """As the pace of its lane counts it."""
        return self.item.effort(self.cost)

    def wanted(self, now: float) -> bool:
        return any(group.wanted(now) for group, _ in self.waiters)

    def join(self, group: Group, index: int) -> None:
        """Of another request; it begins when the first of them has its turn."""
        if not self.begun and self.waiters[-1][0] is not group:
            group.waiting.append(self)
        self.waiters.append((group, index))


@dataclass(slots=True, eq=False)
class Part:
    """Some windows of a long item, waiting for a worker."""

    task: Task
    windows: list[int]
    cost: int

    @property
    def item(self) -> Item:
        return self.task.item

    @property
    def effort(self) -> int:
        return self.item.effort(self.cost)

    def wanted(self, now: float) -> bool:
        return self.task.wanted(now)


class Lane:
    """What waits for one runtime: its requests, in turn; and what has begun.

    running: turns that a worker is at
    turns: those that have begun; what a model writes rests now and then, so they may be more
    effort: of its requests that wait or run
    effort_per_second: of one worker; tokens_per_second: the tokens that it reads meanwhile
    answered: items that these were learned from
    """

    def __init__(self, runtime: Infers) -> None:
        self.runtime = runtime
        self.writer = runtime if isinstance(runtime, Writes) else None
        self.groups: deque[Group] = deque()
        self.running = 0
        self.turns: set[Turn] = set()
        self.effort = 0
        self.effort_per_second = Ratio(_first_pace(runtime.plan), FIRST_S)
        self.tokens_per_second = Ratio(_first_pace(runtime.plan), FIRST_S)
        self.answered = 0

    def free(self, left: Lane | None = None) -> bool:
        """Whether one more turn may run; left: the lane of a turn that would rest instead."""
        return self.running - (left is self) < self.runtime.plan.calls

    @property
    def full(self) -> bool:
        """Whether as many turns have begun as may run."""
        return len(self.turns) >= self.runtime.plan.calls

    def may_begin(self) -> bool:
        """Whether something that waits may begin, beside what rests.

        Of a request that nothing of has begun yet: no other waits for the whole of what is being
        written. The parts of one text are no newcomers, and are written one after the other.
        At least one turn rests beside the others, as heavy as they may be.
        """
        if not self.full:
            return bool(self.groups)
        calls = self.runtime.plan.calls
        memory = sum(turn.share for turn in self.turns)
        if len(self.turns) > calls and memory >= OPEN_CALLS * calls:
            return False
        return any(not group.begun for group in self.groups)

    def hold_back(self) -> list[Group]:
        """Take out the requests that may not begin now."""
        if not self.full:
            return []
        held = [group for group in self.groups if group.begun]
        self.groups = deque(group for group in self.groups if not group.begun)
        return held

    def begin(self, turn: Turn) -> None:
        self.turns.add(turn)
        for group in turn.groups:
            group.begun += 1

    def end(self, turn: Turn) -> None:
        self.turns.discard(turn)
        for group in turn.groups:
            group.begun -= 1

    def seconds(self, effort: int) -> float:
        """About how long one worker needs."""
        return effort / max(self.effort_per_second.value, 1e-9)

    def learn(self, tokens: int, effort: int, seconds: float, complete: bool) -> None:
        """What an item took; one that failed or was given up tells only that it is slower yet."""
        if complete or seconds > self.seconds(effort):
            self.effort_per_second.learn(effort, seconds)
            self.tokens_per_second.learn(tokens, seconds)
            self.answered += 1


def _first_pace(plan: Plan) -> float:
    """Tokens a second of one worker, as the graph was measured where it was."""
    return plan.windows_per_s * SHORT / plan.calls or FIRST


Owned = tuple[Task, int]  # a task, and which of its windows


class Listener:
    """Tells the tokens of one window, none of them twice when it is written again."""

    def __init__(self, tell: Callable[[Sequence[int], bool], None]) -> None:
        self._tell = tell
        self._told = 0
        self._written = 0

    def again(self) -> None:
        """From the first token on."""
        self._written = 0

    def __call__(self, tokens: Sequence[int], ended: bool) -> None:
        new = tokens[max(self._told - self._written, 0) :]
        self._written += len(tokens)
        self._told = max(self._told, self._written)
        if new or ended:
            self._tell(new, ended)


@dataclass(slots=True, eq=False)
class Turn:
    """What one worker works on together; of a runtime that writes also how far it has come.

    groups: that the work is of, one by one
    calls: those still to be made, None before the items are encoded
    writing: the call that is going on, about the windows `owned`
    open: the places in `owned` of the windows that have not ended
    seconds: of `writing` so far, the share of each window that is open
    listeners: of the windows that somebody hears while they are written
    """

    lane: Lane
    work: list[Task | Part]
    groups: list[Group]
    calls: deque[list[Owned]] | None = None
    owned: list[Owned] = field(default_factory=list)
    open: set[int] = field(default_factory=set)
    writing: Stepwise | None = None
    seconds: float = 0.0
    listeners: dict[Owned, Listener] = field(default_factory=dict)
    rests_until: float = 0.0

    def listener(self, owned: Owned) -> Listener | None:
        """Who hears a window that is about to be written."""
        task, index = owned
        if task.item.heard is None:
            return None
        if owned not in self.listeners:
            self.listeners[owned] = Listener(partial(task.item.heard, index))
        self.listeners[owned].again()
        return self.listeners[owned]

    @property
    def share(self) -> float:
        """Of the memory of the largest call that the plan allows, while it is written."""
        plan = self.lane.runtime.plan
        weights = [one.item.weight for one in self.work]
        tokens = sum(one.cost for one in self.work)
        several = max(sum(weights) / plan.windows, tokens / plan.tokens)
        return max(min(several, 1.0), max(weights) / plan.windows)
