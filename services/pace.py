"""How much a text costs, and how fast a model works it off: measured, the newest counting most."""

from __future__ import annotations

from threading import Lock

FIRST = 5000.0  # tokens a second of one worker, until something was measured
FORGET = 0.98  # what the past keeps of its weight with every new measurement


class Ratio:
    """A decaying mean of one quantity per other, e.g. tokens per second of work.

    weight: of `first`, in the unit of what is below the line
    """

    def __init__(self, first: float, weight: float = 1.0) -> None:
        self._over, self._under = first * weight, weight
        self._lock = Lock()

    def learn(self, over: float, under: float) -> None:
        with self._lock:
            self._over = FORGET * self._over + over
            self._under = FORGET * self._under + under

    @property
    def value(self) -> float:
        return self._over / self._under


class Lengths:
    """Tokens of the texts that come in, estimated from their characters."""

    def __init__(self) -> None:
        self._tokens_per_character = Ratio(0.3)

    def learn(self, tokens: int, characters: int) -> None:
        """One finished item: what it was estimated from, and what it really was."""
        if characters:
            self._tokens_per_character.learn(tokens, characters)

    def tokens(self, characters: int) -> int:
        """About how many tokens are read of a text of so many characters."""
        return 2 + round(characters * self._tokens_per_character.value)
