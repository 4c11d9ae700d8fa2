"""How fast the service works through what waits: measured, with the newest counting most."""

from __future__ import annotations

from threading import Lock

FIRST = 5000.0  # tokens a second of one worker, until something was measured
FORGET = 0.98  # what the past keeps of its weight with every new measurement


class Ratio:
    """A decaying mean of one quantity per other, e.g. tokens per second of work."""

    def __init__(self, first: float) -> None:
        self._over, self._under = first, 1.0
        self._lock = Lock()

    def learn(self, over: float, under: float) -> None:
        with self._lock:
            self._over = FORGET * self._over + over
            self._under = FORGET * self._under + under

    @property
    def value(self) -> float:
        return self._over / self._under


class Pace:
    """tokens_per_second: of one worker; tokens_per_character: of the texts that come in."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._tokens_per_second = Ratio(FIRST)
        self._tokens_per_character = Ratio(0.3)

    def learn(self, tokens: int, characters: int, seconds: float) -> None:
        """One finished item: what it was estimated from, and what it really was."""
        self._tokens_per_second.learn(tokens, seconds)
        if characters:
            self._tokens_per_character.learn(tokens, characters)

    def tokens(self, characters: int) -> int:
        """About how many tokens a text of so many characters costs."""
        return 2 + round(characters * self._tokens_per_character.value)

    def seconds(self, tokens: int) -> float:
        """About how long all workers together need for so many tokens."""
        return tokens / self._together

    def tokens_within(self, seconds: float) -> float:
        """About how many tokens all workers together read in this time."""
        return seconds * self._together

    @property
    def _together(self) -> float:
        """Tokens a second of all workers."""
        return max(self._tokens_per_second.value * self.workers, 1e-9)
