"""How much each API key may ask for: a token bucket, counted in tokens that the models read.

A bucket holds what a minute allows. A request takes what it is estimated to cost before it is
worked on, and gets back (or pays) the difference to what it really was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic

from services.errors import TransferError


class QuotaError(TransferError):
    """A key has used up what it may; come back in `retry_after_s`."""

    code = "quota_exceeded"
    status = 429

    def __init__(self, tokens_per_minute: int, retry_after_s: int) -> None:
        super().__init__(
            f"This key has used up its {tokens_per_minute} tokens a minute.",
            "Try again after the time in Retry-After.",
        )
        self.retry_after_s = retry_after_s


class Quota:
    """The buckets of all keys, by name; with 0 tokens a minute there is no bound."""

    def __init__(self, tokens_per_minute: int, now: Callable[[], float] = monotonic) -> None:
        self.tokens_per_minute = tokens_per_minute
        self._now = now
        self._buckets: dict[str, tuple[float, float]] = {}  # what is in it, and when that was

    def take(self, name: str, tokens: int) -> None:
        """Raises QuotaError unless there is something left; a last request may take more."""
        if not self.tokens_per_minute:
            return
        left = self._level(name)
        if left <= 0:
            seconds = (1 - left) * 60 / self.tokens_per_minute
            raise QuotaError(self.tokens_per_minute, max(1, math.ceil(seconds)))
        self._buckets[name] = left - tokens, self._now()

    def settle(self, name: str, taken: int, used: int) -> None:
        """A request that took `taken` has used `used`."""
        if self.tokens_per_minute:
            level = self._level(name) + taken - used
            self._buckets[name] = min(level, self.tokens_per_minute), self._now()

    def _level(self, name: str) -> float:
        level, since = self._buckets.get(name, (float(self.tokens_per_minute), self._now()))
        refilled = (self._now() - since) * self.tokens_per_minute / 60
        return min(level + refilled, float(self.tokens_per_minute))
