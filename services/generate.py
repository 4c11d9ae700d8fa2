"""Sources in, written tokens out: an encoder-decoder's summaries without torch.

    generation = Generation(model, [Job(source, settings), ...])
    while not generation.done:
        for event in generation.step():
            ...  # event.tokens are final; event.ended tells that the job has left the batch

The jobs of a batch start together and advance together, one token a step, each under its own
settings; only `num_beams` is common. A job that is finished or cancelled leaves at once, so that
the batch shrinks, and no job's result depends on its neighbours. A new request starts a new batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.errors import UsageError
from services.generation.beams import BeamSearch
from services.generation.greedy import GreedySearch
from services.generation.model import Memory, Seq2SeqModel
from services.generation.settings import GenerationSettings

Ended = Literal["stop", "length", "cancelled"]


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Job:
    """One source to be written about.

    source: token ids with their special tokens
    cancelled: asked before every step; whether nobody waits for the result any more
    stream: give out tokens as soon as they are final. With one beam that is every token at once;
        with more it is what all hypotheses that may still win begin with, and the rest at the end
    """

    source: Sequence[int]
    settings: GenerationSettings
    cancelled: Callable[[], bool] = never
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """What a step did to one job; the tokens of all its events, joined, are what was written.

    job: its place among the jobs of the generation
    tokens: final ones, not given out before
    ended: "stop" after an end token, "length" at `max_new_tokens`, "cancelled" without a result
    """

    job: int
    tokens: list[int] = field(default_factory=list)
    ended: Ended | None = None


class Generation:
    """A batch of jobs, driven step by step by one thread at a time.

    Raises UsageError for jobs with different numbers of beams.
    """

    def __init__(self, model: Seq2SeqModel, jobs: Sequence[Job]) -> None:
        _require_equal_beams(jobs)
        self._model = model
        self.jobs = list(jobs)
        self._live = np.arange(len(jobs))  # the jobs in the batch, by row
        self._given = [0] * len(jobs)  # tokens given out
        self._memory: Memory | None = None
        settings = [job.settings for job in jobs]
        self._search = BeamSearch(settings) if _beams(jobs) > 1 else GreedySearch(settings)

    @property
    def done(self) -> bool:
        return len(self._live) == 0

    def step(self) -> list[Event]:
        """Let cancelled jobs go, then write one token for each of the others."""
        events = self._let_go()
        if self.done:
            return events
        if self._memory is None:
            self._memory = self._model.encode([self.jobs[job].source for job in self._live])
        logits = self._model.step(self._search.next_tokens, self._memory)
        origins = self._search.advance(logits).reshape(len(self._live), -1)
        events += [event for row in range(len(self._live)) if (event := self._news(row))]
        self._keep(np.flatnonzero(~self._search.done), origins)
        return events

    def _let_go(self) -> list[Event]:
        """Drop the jobs that nobody waits for."""
        left = np.array([self.jobs[job].cancelled() for job in self._live], np.bool_)
        events = [Event(int(job), ended="cancelled") for job in self._live[left]]
        rows = np.arange(self._memory.rows if self._memory else len(self._live))
        self._keep(np.flatnonzero(~left), rows.reshape(len(self._live), -1))
        return events

    def _news(self, row: int) -> Event | None:
        """What the last step settled for one job."""
        job = int(self._live[row])
        if self._search.done[row]:
            return self._event(job, self._search.result(row), ends=True)
        return self._event(job, self._search.settled(row)) if self.jobs[job].stream else None

    def _event(self, job: int, tokens: list[int], ends: bool = False) -> Event:
        new = tokens[self._given[job] :]
        self._given[job] = len(tokens)
        full = len(tokens) >= self.jobs[job].settings.max_new_tokens
        return Event(job, new, ("length" if full else "stop") if ends else None)

    def _keep(self, rows: NDArray[np.intp], origins: NDArray[np.intp]) -> None:
        """Go on with the jobs in `rows`; origins: (jobs, rows of memory that each continues)."""
        leaving = len(rows) < len(self._live)
        self._live = self._live[rows]
        if self.done:
            return
        if leaving:
            self._search.keep(rows)
        if self._memory is not None:
            self._memory.select(origins[rows].ravel())


def generate(model: Seq2SeqModel, jobs: Sequence[Job]) -> list[list[int] | None]:
    """What each job wrote, start token left out; None for one that was cancelled."""
    return results_of(Generation(model, jobs))


def results_of(generation: Generation) -> list[list[int] | None]:
    """Drive a new generation to its end; see `generate`."""
    written: list[list[int] | None] = [[] for _ in generation.jobs]
    while not generation.done:
        for event in generation.step():
            so_far = written[event.job]
            if so_far is not None:
                written[event.job] = None if event.ended == "cancelled" else so_far + event.tokens
    return written


def _beams(jobs: Sequence[Job]) -> int:
    return jobs[0].settings.num_beams if jobs else 1


def _require_equal_beams(jobs: Sequence[Job]) -> None:
    beams = sorted({job.settings.num_beams for job in jobs})
    if len(beams) > 1:
        raise UsageError(
            f"The jobs of a batch have {beams} beams; expected one number.",
            "Start a generation for each.",
        )
