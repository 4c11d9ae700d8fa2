"""Greedy search: the likeliest token, again and again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.generation.constraints import Scores, TokenIds, constrain
from services.generation.settings import GenerationSettings


class GreedySearch:
    """One hypothesis for each job; jobs that are done leave by `keep`.

    done: (jobs,) bool
    """

    def __init__(self, settings: Sequence[GenerationSettings]) -> None:
        self.settings = list(settings)
        room = 1 + max((one.max_new_tokens for one in settings), default=0)
        self.sequences = np.zeros((len(settings), room), np.int64)
        self.sequences[:, 0] = [one.decoder_start_token_id for one in settings]
        self.written = 0
        self.done = np.zeros(len(settings), np.bool_)

    @property
    def next_tokens(self) -> TokenIds:
        """(jobs,) what the decoder reads next."""
        return self.sequences[:, self.written]

    def advance(self, logits: Scores) -> TokenIds:
        """Write one more token for every job; logits: (jobs, vocabulary), changed in place.

        Returns (jobs,): the row of `logits` that each row of the next step continues.
        """
        length = 1 + self.written
        for row, settings in enumerate(self.settings):
            constrain(logits[row : row + 1], self.sequences[row : row + 1, :length], settings)
        chosen = logits.argmax(axis=1)
        self.sequences[:, length] = chosen
        self.written = length
        for row, settings in enumerate(self.settings):
            self.done[row] = (
                int(chosen[row]) in settings.eos_token_ids or length == settings.max_new_tokens
            )
        return np.arange(len(self.settings))

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Go on with these jobs alone."""
        self.settings = [self.settings[row] for row in rows]
        self.sequences, self.done = self.sequences[rows], self.done[rows]

    def settled(self, row: int) -> list[int]:
        """What a job has written for good: all of it."""
        return self.result(row)

    def result(self, row: int) -> list[int]:
        """The tokens of a job, the start token left out."""
        tokens: list[int] = self.sequences[row, 1 : 1 + self.written].tolist()
        return tokens
