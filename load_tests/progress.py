"""How far a long run is, on stderr: a bar on a terminal, one line a step elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 24


class Progress:
    """Counts steps; `step(words)` says what begins now."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.total = total
        self.done = 0
        self.stream = sys.stderr if stream is None else stream
        self.started = time.monotonic()

    def step(self, words: str) -> None:
        self._show(words)
        self.done += 1

    def note(self, words: str) -> None:
        """What the step is about now; on a terminal alone, or a log would be flooded."""
        if self.stream.isatty():
            self._show(words)

    def close(self, words: str) -> None:
        """The last line."""
        self.done = self.total
        self._show(words)
        if self.stream.isatty():
            print(file=self.stream)

    def _show(self, words: str) -> None:
        seconds = time.monotonic() - self.started
        if not self.stream.isatty():
            line = f"[{self.done:>{len(str(self.total))}}/{self.total}] {seconds:4.0f} s  {words}"
            print(line, file=self.stream, flush=True)
            return
        filled = WIDTH * self.done // max(self.total, 1)
        bar = "#" * filled + "." * (WIDTH - filled)
        text = f"\r\x1b[2K[{bar}] {self.done}/{self.total} {seconds:.0f} s  {words}"
        print(text, end="", file=self.stream, flush=True)
