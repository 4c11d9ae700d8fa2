"""When the users of a Locust process may send: at once (closed loop), or when something is due.

    user.pacing.wait()   -> None: now; or the moment at which the request was due (perf_counter)

Latency is counted from that moment: a server that stalls is charged for every request that had to
wait meanwhile. A closed loop waits with it and hides that ("coordinated omission", Tene 2013).

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
from gevent.queue import Queue
from locust.exception import StopUser

LATE_S = 0.02  # a request released later than this was not sent at its rate
NAP_S = 0.2  # how soon a pacer that was stopped notices

_sleep = monkey.get_original("time", "sleep")


class ClosedLoop:
    """Every user sends its next request when it has its answer."""

    def wait(self) -> float | None:
        return None

    def start(self, due: Iterable[float]) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""


class OpenLoop:
    """Requests come when they are due; whichever user is free takes the next.

    released: how many became due so far; late: how many of these were handed out over 20 ms late,
    because this process was too busy. A request that waits for a free user is not late.
    taken: how many a user has begun to send. Users who wait when it is stopped end.
    """

    def __init__(self) -> None:
        self.released = self.late = self.taken = 0
        self.began = 0.0
        self._queue: Queue[float | None] = Queue()
        self._idle, self._over = 0, False
        self._due_now: deque[float] = deque()
        self._stopped = True
        # The thread below needs the interpreter's lock; 5 ms, the default, would be late.
        sys.setswitchinterval(0.0005)

    def wait(self) -> float | None:
        if self._over:
            raise StopUser
        self._idle += 1
        try:
            due = self._queue.get()
        finally:
            self._idle -= 1
        if due is None:
            raise StopUser
        self.taken += 1
        return float(due)

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

    def stop(self) -> None:
        """Release nothing more, forget what is not sent, and let those go who wait for it."""
        self._stopped = self._over = True
        self._due_now.clear()
        while not self._queue.empty():
            self._queue.get_nowait()
        for _ in range(self._idle):
            self._queue.put_nowait(None)

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
        while self._due_now:
            moment = self._due_now.popleft()
            self.released += 1
            self.late += time.perf_counter() - moment > LATE_S
            self._queue.put_nowait(moment)
