"""Beam search as `transformers` 4.57 does it (`GenerationMixin._beam_search`), in numpy.

Every job keeps `num_beams` open hypotheses, and the `num_beams` best finished ones beside them. In
each step the best continuations of all open ones are found together; those that end compete with
the finished ones by log-probability / length ** length_penalty, the others stay open. All jobs of a
batch advance in the same arrays, each under its own settings, and each stops by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.generation.constraints import Scores, TokenIds, constrain
from services.generation.settings import GenerationSettings

NEVER = np.float32(-1e9)  # of what does not exist among the open ones, as in transformers
COLUMNS = 512  # in which `largest` folds a vocabulary: the fastest of 128 to 2048 for 30,000
EMPTY = -1  # in place of tokens that are not written yet
Flags = NDArray[np.bool_]


@dataclass
class Hypotheses:
    """tokens: (jobs, beams, room) start token first; scores, lengths, exist: (jobs, beams)."""

    tokens: TokenIds
    scores: Scores
    lengths: TokenIds
    exist: Flags

    def keep(self, rows: NDArray[np.intp]) -> None:
        self.tokens, self.scores = self.tokens[rows], self.scores[rows]
        self.lengths, self.exist = self.lengths[rows], self.exist[rows]


@dataclass
class Candidates:
    """The best continuations of each job, best first.

    scores: (jobs, candidates) summed log-probabilities
    origins: the open hypothesis that each continues; tokens: what it adds; ends: whether it stops
    """

    scores: Scores
    origins: NDArray[np.intp]
    tokens: TokenIds
    ends: Flags


class BeamSearch:
    """`num_beams` hypotheses for each job, the same number for all of them.

    done: (jobs,) bool
    """

    def __init__(self, settings: Sequence[GenerationSettings]) -> None:
        jobs, self.beams = len(settings), settings[0].num_beams
        room = 1 + max(one.max_new_tokens for one in settings)
        starts = np.array([one.decoder_start_token_id for one in settings])
        self._open = _no_hypotheses(jobs, self.beams, room, starts, NEVER)
        self._open.scores[:, 0] = 0.0  # the others are the same hypothesis: none at first
        # Below every real one: a length penalty can take a score below NEVER.
        self._finished = _no_hypotheses(jobs, self.beams, room, starts, np.float32(-np.inf))
        self.written = 0
        self.done = np.zeros(jobs, np.bool_)
        self._use(settings)

    def _use(self, settings: Sequence[GenerationSettings]) -> None:
        """Settings as columns, one row for each job."""
        self.settings = list(settings)
        ends = max(1, max(len(one.eos_token_ids) for one in settings))
        self._candidates_each = (1 + ends) * self.beams  # so that enough remain that do not end
        self._eos = np.full((len(settings), 1, ends), EMPTY)
        for row, one in enumerate(settings):
            self._eos[row, 0, : len(one.eos_token_ids)] = one.eos_token_ids
        self._max_written = np.array([one.max_new_tokens for one in settings])
        self._penalty = np.array([one.length_penalty for one in settings], np.float64)
        self._first_full = np.array([one.early_stopping is True for one in settings])
        never = np.array([one.early_stopping == "never" for one in settings])
        self._at_best_length = never & (self._penalty > 0.0)

    @property
    def next_tokens(self) -> TokenIds:
        """What the decoder reads next: (jobs,) at first, then (jobs * beams,)."""
        if self.written == 0:
            return self._open.tokens[:, 0, 0]
        return self._open.tokens[:, :, self.written].ravel()

    def advance(self, logits: Scores) -> NDArray[np.intp]:
        """Write one more token; logits: as many rows as `next_tokens`, changed in place.

        Returns (jobs * beams,): the row of `logits` that each row of the next step continues.
        """
        jobs = len(self.settings)
        rows_each = len(logits) // jobs  # one at first: a job's hypotheses are still the same
        log_probs = log_softmax(logits).reshape(jobs, rows_each, -1)
        for row, settings in enumerate(self.settings):
            so_far = self._open.tokens[row, :rows_each, : self.written + 1]
            constrain(log_probs[row], so_far, settings)
        found = self._candidates(log_probs)
        self._finish(found)
        chosen = self._continue(found)
        self.written += 1
        self._judge(found)
        return (chosen + rows_each * np.arange(jobs)[:, None]).ravel()

    def _candidates(self, log_probs: Scores) -> Candidates:
        """The best continuations over all open hypotheses; log_probs: (jobs, rows, vocabulary)."""
        jobs, _, vocabulary = log_probs.shape
        most = min(self._candidates_each, vocabulary)
        tokens = largest(log_probs, most)
        each = np.take_along_axis(log_probs, tokens, axis=2)
        scores = (each + self._open.scores[:, : each.shape[1], None]).reshape(jobs, -1)
        best = best_first(scores, self._candidates_each)
        chosen = np.take_along_axis(tokens.reshape(jobs, -1), best, axis=1)
        ends = (chosen[:, :, None] == self._eos).any(axis=2)
        ends |= (self.written + 1 >= self._max_written)[:, None]
        return Candidates(np.take_along_axis(scores, best, axis=1), best // most, chosen, ends)

    def _finish(self, found: Candidates) -> None:
        """Let candidates that end, among the first `beams`, compete with the finished ones."""
        new = found.ends & (found.scores > NEVER)  # else it is forbidden, or continues none
        new[:, self.beams :] = False
        if not new.any():
            return
        lengths = np.full_like(found.tokens, self.written + 1)
        scores = found.scores / self._length_factor(lengths[:, :1])
        scores = np.where(new, scores, -np.inf).astype(np.float32)
        old = self._finished
        merged = np.concatenate([old.scores, scores], axis=1)
        best = best_first(merged, self.beams)
        tokens = np.concatenate([old.tokens, self._extended(found)], axis=1)
        self._finished = Hypotheses(
            np.take_along_axis(tokens, best[:, :, None], axis=1),
            np.take_along_axis(merged, best, axis=1),
            np.take_along_axis(np.concatenate([old.lengths, lengths], axis=1), best, axis=1),
            np.take_along_axis(np.concatenate([old.exist, new], axis=1), best, axis=1),
        )

    def _continue(self, found: Candidates) -> NDArray[np.intp]:
        """Keep the best candidates that do not end open; returns (jobs, beams) their origins."""
        scores = found.scores + np.where(found.ends, NEVER, np.float32(0.0))
        best = best_first(scores, self.beams)
        kept = Candidates(
            np.take_along_axis(scores, best, axis=1),
            np.take_along_axis(found.origins, best, axis=1),
            np.take_along_axis(found.tokens, best, axis=1),
            np.take_along_axis(found.ends, best, axis=1),
        )
        self._open.tokens = self._extended(kept)
        self._open.scores = kept.scores
        return kept.origins

    def _judge(self, found: Candidates) -> None:
        """Which jobs are done: nothing open can win, enough is finished, or nothing is open."""
        hopeful = np.where(self._at_best_length, self._max_written, self.written)
        best_open = self._open.scores[:, :1] / self._length_factor(hopeful[:, None])
        can_win = best_open[:, 0] > self._finished.scores.min(axis=1)
        can_win &= self._open.scores[:, 0] > NEVER
        full = self._finished.exist.all(axis=1) & self._first_full
        self.done |= ~can_win | full | found.ends.all(axis=1)

    def _extended(self, found: Candidates) -> TokenIds:
        """(jobs, candidates, room): each candidate's origin and its token."""
        tokens = np.take_along_axis(self._open.tokens, found.origins[:, :, None], axis=1)
        tokens[:, :, self.written + 1] = found.tokens
        return tokens

    def _length_factor(self, lengths: TokenIds) -> Scores:
        return np.power(lengths, self._penalty[:, None]).astype(np.float32)

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Go on with these jobs alone."""
        self._open.keep(rows)
        self._finished.keep(rows)
        self.done = self.done[rows]
        self._use([self.settings[row] for row in rows])

    def settled(self, row: int) -> list[int]:
        """What every hypothesis of a job that may still win begins with."""
        finished = self._finished.tokens[row][self._finished.exist[row]]
        tokens = np.concatenate([self._open.tokens[row], finished])[:, 1 : 1 + self.written]
        differ = (tokens != tokens[0]).any(axis=0)
        agreed = int(differ.argmax()) if differ.any() else self.written
        common: list[int] = tokens[0, :agreed].tolist()
        return common

    def result(self, row: int) -> list[int]:
        """The tokens of the best finished hypothesis, the start token left out."""
        best, length = self._finished.tokens[row, 0], int(self._finished.lengths[row, 0])
        tokens: list[int] = best[1 : 1 + length].tolist()
        return tokens


def _no_hypotheses(
    jobs: int, beams: int, room: int, starts: TokenIds, score: np.float32
) -> Hypotheses:
    tokens = np.full((jobs, beams, room), EMPTY, np.int64)
    tokens[:, :, 0] = starts[:, None]
    return Hypotheses(
        tokens,
        np.full((jobs, beams), score, np.float32),
        np.zeros((jobs, beams), np.int64),
        np.zeros((jobs, beams), np.bool_),
    )


def log_softmax(logits: Scores) -> Scores:
    """Over the last axis, in place and in float32, in the order of operations of torch."""
    logits -= logits.max(axis=-1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logits


def largest(values: Scores, count: int) -> NDArray[np.intp]:
    """Indices of the `count` largest values of the last axis, in no order.

    They lie in the `count` columns with the largest maxima when the axis is folded into rows; the
    maxima are found with vector instructions, and the rest is a search among few. A vocabulary of
    30,000 takes a quarter of the time of partitioning all of it.
    """
    size = values.shape[-1]
    height = size // COLUMNS
    if height < 4 or count > COLUMNS // 2:
        return _partition(values, count)
    outer, folded = values.shape[:-1], height * COLUMNS
    maxima = values[..., :folded].reshape(*outer, height, COLUMNS).max(axis=-2)
    columns = _partition(maxima, count)
    inside = columns[..., None, :] + COLUMNS * np.arange(height)[:, None]
    rest = np.broadcast_to(np.arange(folded, size), (*outer, size - folded))
    places = np.concatenate([inside.reshape(*outer, -1), rest], axis=-1)
    best = _partition(np.take_along_axis(values, places, axis=-1), count)
    return np.take_along_axis(places, best, axis=-1)


def _partition(values: Scores, count: int) -> NDArray[np.intp]:
    return np.argpartition(values, -count, axis=-1)[..., -count:]


def best_first(values: Scores, count: int) -> NDArray[np.intp]:
    """Indices of the `count` largest values of each row, from the largest; of equals the first."""
    return np.argsort(-values, axis=1, kind="stable")[:, :count]
