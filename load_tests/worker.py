"""A program that measures in a process of its own and waits between its turns.

In: requests as lines of JSON on its stdin. Out: one line of JSON for each. So what is measured in
process keeps its model loaded from round to round and shares its interpreter with nobody.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

from load_tests.modules import LoadError
from load_tests.server import ROOT


class Worker:
    """`python -m module` for as long as a `with` block runs."""

    def __init__(self, module: str) -> None:
        self.module = module

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        return self

    def tell(self, **request: Any) -> None:
        """A request without an answer; when the program has ended, the next `ask` says so."""
        stdin = self._pipes()[0]
        with suppress(BrokenPipeError):
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("a worker is used outside of its block")
        return stdin, stdout

    def ask(self, **request: Any) -> Any:
        """The answer to one request; raises LoadError with the program's last lines."""
        stdout = self._pipes()[1]
        self.tell(**request)
        if not (line := stdout.readline()):
            raise LoadError(
                f"`python -m {self.module}` ended without an answer:\n{self._tail()}",
                "Install what it misses, or give it what it asks for.",
            )
        return json.loads(line)

    def _tail(self) -> str:
        self._process.wait(10)
        self._errors.seek(0)
        return "\n".join(self._errors.read().splitlines()[-15:])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()


def answer_lines(answer: Callable[[dict[str, Any]], Any]) -> None:
    """The other side: an answer to every line of stdin, until it ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
