"""What a worker does with its turn: encode, infer or write, decode, and hand the results back."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from threading import Lock
from time import perf_counter
from typing import Protocol

from services.errors import TransferError
from services.pace import Lengths
from services.plan import Plan, calls_of
from services.queued import Owned, Part, Task, Turn
from services.tasks.base import Outputs
from services.windows import Window
from services.work import DeadlineError, Infers, ItemFailedError, Writes, complete

logger = logging.getLogger("transfer")

SLICE_S = 0.01  # how long a model writes while others wait, and then rests


class Desk(Protocol):
    """Where turns come from, and where results go."""

    lock: Lock
    lengths: Lengths

    def queue_parts(self, task: Task, parts: Sequence[Part]) -> None:
        """Let other workers take up parts of a long item."""

    def others_wait(self, turn: Turn) -> bool:
        """Whether somebody could have a turn now, if this one rested."""

    def unwanted(self, task: Task) -> bool:
        """Whether nobody waits for it; then nobody will join it any more."""

    def finish(self, task: Task) -> None:
        """It is complete."""


class Worker:
    """Works on turns, in any thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def work(self, turn: Turn) -> bool:
        """Encode the items, run their windows together, finish what is complete.

        Whether all is done; False for what was interrupted for others.
        """
        lane = turn.lane
        if turn.calls is None:
            turn.calls = self._calls(turn.work, lane.runtime.plan)
        if lane.writer:
            return self._write(turn, lane.writer)
        for owned in turn.calls:
            self._call(lane.runtime, owned)
        return True

    def _calls(self, work: Sequence[Task | Part], plan: Plan) -> deque[list[Owned]]:
        """The windows of a turn, by the calls that they are run in."""
        owned: list[Owned] = []
        for one in work:
            if isinstance(one, Part):
                owned += [(one.task, index) for index in one.windows]
            elif self._encode(one):
                owned += [(one, index) for index in self._keep(one, plan)]
        calls = calls_of([window_of(one) for one in owned], plan)
        return deque([owned[i] for i in call] for call in calls)

    def _encode(self, task: Task) -> bool:
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
            self._desk.finish(task)
        return done.error is None

    def _keep(self, task: Task, plan: Plan) -> list[int]:
        """The windows to run now; of a long item the rest is queued in parts for all workers."""
        windows = task.windows
        calls = calls_of(windows, plan)
        if len(calls) == 1:
            return list(range(len(windows)))
        if task.item.heard:
            calls.sort(key=min)  # what is heard first comes first
        parts = [Part(task, call, sum(len(windows[i]) for i in call)) for call in calls[1:]]
        self._desk.queue_parts(task, parts)
        return calls[0]

    def _call(self, runtime: Infers, owned: Sequence[Owned]) -> None:
        """One call of the graph; if it fails, each item alone, so that a fault stays with it."""
        windows = [window_of(one) for one in owned]
        began = perf_counter()
        try:
            outputs = runtime.call(windows)
        except Exception as error:
            if len(owned) > 1:
                for one in owned:
                    self._call(runtime, [one])
                return
            self._deposit(*owned[0], _defect(error), 0.0)
            return
        seconds = perf_counter() - began
        tokens = sum(map(len, windows))
        for (task, index), output, window in zip(owned, outputs, windows, strict=True):
            self._deposit(task, index, output, seconds * len(window) / tokens)

    def _write(self, turn: Turn, writer: Writes) -> bool:
        """Go on with a turn until it is done, or for a moment while others wait."""
        assert turn.calls is not None
        until = perf_counter() + SLICE_S
        while turn.writing or turn.calls:
            try:
                if turn.writing is None:
                    self._begin(turn, writer)
                self._step(turn)
            except Exception as error:
                self._give_up(turn, error)
            now = perf_counter()
            if turn.writing and now > until:
                if self._desk.others_wait(turn):
                    turn.rests_until = 2 * now - until + SLICE_S  # as long as it has worked
                    return False
                until = now + SLICE_S
        return True

    def _begin(self, turn: Turn, writer: Writes) -> None:
        assert turn.calls is not None
        turn.owned, turn.seconds = turn.calls.popleft(), 0.0
        turn.open = set(range(len(turn.owned)))
        turn.writing = writer.begin(
            [window_of(one) for one in turn.owned],
            [partial(self._desk.unwanted, task) for task, _ in turn.owned],
            [turn.listener(one) for one in turn.owned],
        )

    def _step(self, turn: Turn) -> None:
        """One token for the windows, which share its time equally."""
        assert turn.writing is not None
        began = perf_counter()
        ended = turn.writing.step()
        turn.seconds += (perf_counter() - began) / len(turn.open)
        for place, output in ended:
            turn.open.discard(place)
            task, index = turn.owned[place]
            found = _too_late() if output is None else output
            self._deposit(task, index, found, turn.seconds)
        if turn.writing.done:
            turn.writing = None

    def _give_up(self, turn: Turn, error: Exception) -> None:
        """Write anew what was open together, each alone, so that a fault stays with its item."""
        assert turn.calls is not None
        turn.writing = None
        left = [turn.owned[place] for place in sorted(turn.open)]
        if len(left) > 1:
            turn.calls.extendleft([one] for one in reversed(left))
        else:
            for task, index in left:
                self._deposit(task, index, _defect(error), 0.0)

    def _deposit(
        self, task: Task, index: int, output: Outputs | TransferError, seconds: float
    ) -> None:
        """Keep the output of one window; with the last one the item is decoded and answered."""
        done = task.done
        if not isinstance(output, TransferError):
            output = task.item.reduce(output)
        with self._desk.lock:
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
        if done.error is None and self._desk.unwanted(task):
            done.error = _too_late()
        if done.error is None:
            try:
                done.result = task.item.decode(task.encoded, complete(task.outputs))
            except TransferError as error:
                done.error = error
            except Exception as error:
                done.error = _defect(error)
        done.decode = perf_counter() - began
        task.encoded, task.outputs = None, []
        self._desk.lengths.learn(done.tokens, task.item.characters)
        effort = task.item.effort(done.tokens)
        task.lane.learn(done.tokens, effort, done.seconds, done.error is None)
        self._desk.finish(task)


def _too_late() -> DeadlineError:
    return DeadlineError("The answer was given up.", "Allow more time, or send less text at once.")


def window_of(owned: Owned) -> Window:
    task, index = owned
    return task.windows[index]


def _defect(error: Exception) -> ItemFailedError:
    logger.error("an item failed", exc_info=error)
    return ItemFailedError(
        "The service failed at this item.",
        "Report it with its request_id; the log has the reason.",
    )
