"""When the users of a Locust process may send: at once (closed loop), or when something is due.

    user.pacing.wait()   -> None: now; or the moment at which the request was due (perf_counter);
                         raises Over when nothing will be due any more
    user.pacing.answered(due)   the request that was due then has its answer, or its fault

Latency is counted from that moment: a server that stalls is charged for every request that had to
wait meanwhile. A closed loop waits with it and hides that ("coordinated omission", Tene 2013).
A server that stalls until the end is charged for what was due and has no answer by then.

The due times are kept by a native thread that sleeps in the kernel, exact to about a tenth of a
millisecond; libev's timers, on which gevent sleeps, are exact to one.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterable

import gevent
from gevent import monkey
from gevent.queue import Queue, ShutDown

LATE_S = 0.02  # a request released later than this was not sent at its rate
NAP_S = 0.2  # how soon a pacer that was stopped notices

_sleep = monkey.get_original("time", "sleep")


class Over(Exception):
    """Whoever waits for a request may go."""


class ClosedLoop:
    """Every user sends its next request when it has its answer."""

    def wait(self) -> float | None:
        return None

    def answered(self, due: float | None) -> None:
        """What is on its way at the end is left out: it is one request a user."""

    def unanswered(self, before: float) -> int:
        """Nothing was due."""
        return 0

    def start(self, due: Iterable[float]) -> None:
        """There is nothing to start."""

    def pause(self) -> None:
        """There is nothing to release."""

    def stop(self) -> None:
        """There is nothing to stop."""


class OpenLoop:
    """Requests come when they are due; whichever user is free takes the next.

    released: how many became due so far; late: how many of these were handed out over 20 ms late,
    because this process was too busy. A request that waits for a free user is not late.
    """

    def __init__(self) -> None:
        self.released = self.late = 0
        self.began = 0.0
        self._queue: Queue[float] = Queue()
        self._open: set[float] = set()
        self._due_now: deque[float] = deque()
        self._stopped = True
        # The thread below needs the interpreter's lock; 5 ms, the default, would be late.
        sys.setswitchinterval(0.0005)

    def wait(self) -> float | None:
        try:
            return float(self._queue.get())
        except ShutDown:
            raise Over from None

    def answered(self, due: float | None) -> None:
        """It is no longer waited for."""
        if due is not None:
            self._open.discard(due)

    def unanswered(self, before: float) -> int:
        """Requests that were due before that moment and have no answer, sent or not."""
        return sum(due < before for due in self._open)

    @property
    def waiting(self) -> int:
        """Requests that are due and not sent."""
        return int(self._queue.qsize())

    def start(self, due: Iterable[float]) -> None:
        """Release requests at `due` seconds from now."""
        hub = gevent.get_hub()
        self._stopped = False
        self._wake = hub.loop.async_()
        self._wake.start(self._hand_out)
        self.began = time.perf_counter() + 0.02
        hub.threadpool.spawn(self._release, iter(due))

    def pause(self) -> None:
        """Release nothing more; what is due is still sent, and who finds nothing due may go."""
        self._stopped = True
        self._due_now.clear()
        self._queue.shutdown()

    def stop(self) -> None:
        """Release nothing more, and forget what is not sent."""
        self.pause()
        self._open.clear()
        while not self._queue.empty():
            self._queue.get_nowait()

    def _release(self, due: Iterable[float]) -> None:
        """In a native thread."""
        for offset in due:
            moment = self.began + offset
            while (wait_s := moment - time.perf_counter()) > 0 and not self._stopped:
                _sleep(min(wait_s, NAP_S))
            if self._stopped:
                return
            self._due_now.append(moment)
            self._wake.send()

    def _hand_out(self) -> None:
        """In gevent's loop."""
        while self._due_now and not self._stopped:
            moment = self._due_now.popleft()
            self.released += 1
            self.late += time.perf_counter() - moment > LATE_S
            self._open.add(moment)
            self._queue.put_nowait(moment)
