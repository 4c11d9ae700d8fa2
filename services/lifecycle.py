"""How the service ends when a variant cannot be served: one line, exit code 1, nothing half-ready.

BentoML keeps a supervisor that starts workers again for ever; a worker whose variants are broken
tells it to stop (SIGUSR1, which BentoML does not use) before it ends itself.
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
from typing import NoReturn

from services.settings import become_supervisor, supervisor_pid

STOP_S = 5.0
ALLOCATIONS = 50_000  # between two looks for cycles; a request makes some hundred, and no cycle


def say(error: Exception) -> None:
    """The one line on stderr."""
    print(f"transfer: {str(error) or repr(error)}", file=sys.stderr, flush=True)


def end_with(error: Exception) -> NoReturn:
    """Say why and exit 1 (in the process that the user started)."""
    say(error)
    raise SystemExit(1)


def supervise() -> None:
    """In the supervisor, before it starts workers: be ready to be stopped by one."""
    become_supervisor()
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, _stop)


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
