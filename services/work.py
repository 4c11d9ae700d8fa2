"""What is worked on: an item, what came of it, and what a runtime must be able to do for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

from services.errors import TransferError
from services.plan import Plan, calls_of
from services.tasks.base import Encoded, Outputs, Result
from services.windows import Window


class DeadlineError(TransferError):
    """The request took longer than its deadline allows."""

    code = "deadline_exceeded"
    status = 504


class ItemFailedError(TransferError):
    """A defect met while one item was worked on; the log has its trace."""

    code = "internal"
    status = 500


class Infers(Protocol):
    """What the scheduler needs of a runtime."""

    @property
    def plan(self) -> Plan: ...

    def call(self, windows: Sequence[Window]) -> list[Outputs]:
        """Run the graph once over all windows; their outputs in order."""


Heard = Callable[[int, Sequence[int], bool], None]  # (window, new tokens, whether it has ended)


class Stepwise(Protocol):
    """Windows that are being written about."""

    @property
    def done(self) -> bool: ...

    def step(self) -> list[tuple[int, Outputs | None]]:
        """Write a token for each; the windows that ended with it, None for a cancelled one."""


@runtime_checkable
class Writes(Infers, Protocol):
    """A runtime that writes, a token at a time."""

    def begin(
        self,
        windows: Sequence[Window],
        cancelled: Sequence[Callable[[], bool]],
        heard: Sequence[Callable[[Sequence[int], bool], None] | None],
    ) -> Stepwise:
        """Nothing computed yet; `cancelled` is asked before each step."""


def as_it_is(output: Outputs) -> Outputs:
    """Most outputs are small."""
    return output


@dataclass(frozen=True, slots=True)
class Item:
    """One text (or question) of a request: its two halves around the graph.

    characters: length of what is read, from which its cost is estimated
    key: items of one runtime with equal keys have equal results; None is equal to nothing
    heard: told, in a worker, the final tokens of each window as soon as a model has written them
    reduce: what `decode` needs of one window's output, all that is kept until the last one is there
    written: tokens that are written about one window at most, over all beams; usual: and as the
        model does where nothing else is asked; window: the tokens of one
    """

    encode: Callable[[], Encoded]
    decode: Callable[[Any, list[Outputs]], Result]
    characters: int = 0
    key: Hashable = None
    heard: Heard | None = None
    reduce: Callable[[Outputs], Outputs] = as_it_is
    written: int = 0
    usual: int = 1
    window: int = 1

    def effort(self, tokens: int) -> int:
        """Tokens read and, at most, written, when so many are read."""
        return tokens + self.written * -(-tokens // self.window)

    @property
    def weight(self) -> float:
        """About the memory of one of its windows while it is written, over the usual."""
        return max(1.0, self.written / self.usual)


@dataclass(slots=True)
class Done:
    """What came of one item: a result or its fault, its cost, and seconds per stage."""

    result: Result | None = None
    error: TransferError | None = None
    tokens: int = 0
    windows: int = 0
    truncated: bool = False
    queue: float = 0.0
    tokenize: float = 0.0
    infer: float = 0.0
    decode: float = 0.0

    @property
    def seconds(self) -> float:
        """Time worked on the item, waiting left out."""
        return self.tokenize + self.infer + self.decode


def work(item: Item, runtime: Infers) -> Done:
    """Encode, infer and decode one item in this thread; a content fault becomes `error`."""
    began = perf_counter()
    done = Done()
    try:
        encoded = item.encode()
    except TransferError as error:
        done.error = error
        done.tokenize = perf_counter() - began
        return done
    tokenized = perf_counter()
    outputs: list[Outputs | None] = [None] * len(encoded.windows)
    for call in calls_of(encoded.windows, runtime.plan):
        found = runtime.call([encoded.windows[i] for i in call])
        for index, output in zip(call, found, strict=True):
            outputs[index] = item.reduce(output)
    inferred = perf_counter()
    done.result = item.decode(encoded, complete(outputs))
    done.tokenize, done.infer = tokenized - began, inferred - tokenized
    done.decode = perf_counter() - inferred
    done.tokens, done.windows = encoded.token_count, len(encoded.windows)
    done.truncated = encoded.truncated
    return done


def complete(outputs: Sequence[Outputs | None]) -> list[Outputs]:
    """The outputs of all windows, none of which is missing any more."""
    return [output for output in outputs if output is not None]
