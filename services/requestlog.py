"""One line of JSON on stdout for every request, written a few times a second for all of them.

    {"time":1763776800.123,"id":"9f...","route":"/classify","status":200,"model":"intent",
     "variant":"distilled-int8","tokens":12,"windows":1,"ms":{"queue":0.1,...,"total":1.9}}

Never a text or a key, unless TRANSFER_LOG_REQUESTS=text asks for the bodies too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from time import time
from typing import Any

import msgspec

FLUSH_S = 0.2
MOST_TEXT = 2000  # bytes of a body that are kept
_encode = msgspec.json.Encoder().encode


class RequestLog:
    """Collects lines in the event loop; a thread writes them."""

    def __init__(self, file: Any = None) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, entry: dict[str, Any]) -> None:
        self._lines.append(_encode({"time": round(time(), 3), **entry}))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        asyncio.get_running_loop().run_in_executor(None, self.write)

    def write(self) -> None:
        """Write what there is, in any thread; also at the end."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        data = memoryview(b"\n".join(lines) + b"\n")
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            number = (self._file or sys.stdout).fileno()
            while data:
                data = data[os.write(number, data) :]
