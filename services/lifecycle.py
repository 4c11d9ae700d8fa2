"""How the service ends: at once when it cannot serve, in peace when it is asked to.

BentoML keeps a supervisor that starts workers again for ever; a worker whose variants are broken
tells it to stop (SIGUSR1, which BentoML does not use) before it ends itself: one line, exit code 1,
nothing half-ready.

Asked to end (SIGTERM, Ctrl-C), a worker is not ready any more, goes on answering for the time of
TRANSFER_DRAIN_S, in which proxies take it out of their lists, then takes no more connections, and
ends when what is in flight is answered. Asked twice, all ends at once.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import psutil

from services.settings import become_supervisor, supervisor_pid

STOP_S = 5.0
LOOK_S = 1.0  # between two looks of the supervisor at its workers
ALLOCATIONS = 50_000  # between two looks for cycles; a request makes some hundred, and no cycle


def say(error: Exception) -> None:
    """The one line on stderr."""
    print(f"transfer: {str(error) or repr(error)}", file=sys.stderr, flush=True)


def end_with(error: Exception) -> NoReturn:
    """Say why and exit 1 (in the process that the user started)."""
    say(error)
    raise SystemExit(1)


def supervise() -> None:
    """In the supervisor, before it starts workers: be ready to be told things by one."""
    become_supervisor()
    look_often()
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, _stop)
        signal.signal(signal.SIGUSR2, _end_at_the_second)


def look_often() -> None:
    """Have the supervisor look after its workers every second instead of every ten.

    BentoML 1.4.39 fixes the time where it makes its arbiter (`create_standalone_arbiter`, whose
    `check_delay` no setting reaches), and makes it after this hook. For as long a worker that died
    is not replaced, or in a container, where the supervisor ends with it, not missed by anybody.
    """
    from bentoml._internal.utils import circus

    class Attentive(circus.Arbiter):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "check_delay": LOOK_S})

    circus.Arbiter = Attentive  # type: ignore[misc]


def _end_at_the_second(number: int, frame: FrameType | None) -> None:
    """From now on. BentoML has set its own handlers by then, which know no second signal."""
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _Second(signal.getsignal(ending)))


class _Second:
    """A handler that leaves the first signal to `first`, and ends everything at the second."""

    def __init__(self, first: Any) -> None:
        self.first: Any = first.first if isinstance(first, _Second) else first
        self._asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            for child in psutil.Process().children(recursive=True):
                child.kill()
            os._exit(128 + number)
        self._asked = True
        self.first(number, frame)


def end_in_peace(drain_s: float, unready: Callable[[], None]) -> None:
    """In a worker that has started: when asked to end, be unready, drain, then end as it would.

    A second signal while it drains ends the draining.
    """
    supervisor = supervisor_pid()
    if supervisor is not None and hasattr(signal, "SIGUSR2"):
        os.kill(supervisor, signal.SIGUSR2)
    if threading.current_thread() is threading.main_thread():
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, _Draining(drain_s, unready, signal.getsignal(ending)))


class _Draining:
    def __init__(self, drain_s: float, unready: Callable[[], None], end: Any) -> None:
        self._drain_s, self._unready, self._end = drain_s, unready, end
        self._asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._unready()
        if self._asked or not self._drain_s:
            self._end(number, frame)
            return
        self._asked = True
        timer = threading.Timer(self._drain_s, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(1)


def on_signal(number: int | None, do: Callable[[], None]) -> None:
    """Let a signal do something in a thread of its own; from the main thread alone."""
    if number is not None and threading.current_thread() is threading.main_thread():
        signal.signal(number, lambda *_: threading.Thread(target=do, daemon=True).start())


def end_worker(error: Exception) -> NoReturn:
    """Say why, stop the supervisor, and exit 1 (from any thread of a worker)."""
    say(error)
    supervisor = supervisor_pid()
    if supervisor is not None:
        os.kill(supervisor, signal.SIGUSR1)
        until = time.monotonic() + STOP_S
        while os.getppid() == supervisor and time.monotonic() < until:
            time.sleep(0.02)  # ended before the supervisor, this worker would be started again
    os._exit(1)


def spare_the_collector() -> None:
    """Leave what is loaded out of garbage collection, and collect seldom.

    By default every few hundred requests all objects of the process are looked at, which is most
    of what the slowest requests wait for.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, 20, 100)
