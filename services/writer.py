"""One loaded encoder-decoder: windows in, written tokens out.

    writer = Runtime.load(folder)                 # a Writer, for a variant that generates
    encoded = writer.task.encode(text, num_beams=1)
    result = writer.task.decode(encoded, writer.infer(encoded.windows))

A window says itself how it is to be written about (`services.tasks.generate_summary.Source`), so
windows of requests with different options may share a call. `begin` gives a call that is driven
token by token, as the scheduler does, so that it can be heard, interrupted and cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.errors import ArtifactError
from services.generate import Generation, Job, never, results_of
from services.generation.model import DECODER_NAME, ENCODER_NAME, Seq2SeqModel
from services.generation.settings import GenerationSettings
from services.manifest import AGAIN
from services.runtime import Runtime, open_session
from services.tasks.base import Outputs
from services.tasks.generate_summary import GenerateSummary, Source
from services.windows import Window

Cancelled = Callable[[], bool]
Heard = Callable[[Sequence[int], bool], None]  # (new tokens, whether they are the last)

TRIAL_TOKENS = 8  # written for each window when plans are measured


class Writing:
    """A call that is going on: in each step jobs with as many beams advance together by a token.

    Those with other numbers of beams take turns.
    """

    def __init__(self, model: Seq2SeqModel, jobs: Sequence[Job], heard: Sequence[Heard | None]):
        self.jobs = list(jobs)
        self._heard = heard
        self._written: list[list[int]] = [[] for _ in jobs]
        self._rest = deque(
            (places, Generation(model, [jobs[place] for place in places]))
            for places in _by_beams(jobs)
        )

    @property
    def done(self) -> bool:
        return not self._rest

    def step(self) -> list[tuple[int, Outputs | None]]:
        """Write a token; the places of the jobs that ended with it, and what each has written."""
        places, generation = self._rest[0]
        ended: list[tuple[int, Outputs | None]] = []
        for event in generation.step():
            place = places[event.job]
            self._written[place] += event.tokens
            if event.ended == "cancelled":  # nothing is told of it: what is held back is unfinal
                ended.append((place, None))
                continue
            if tell := self._heard[place]:
                tell(event.tokens, event.ended is not None)
            if event.ended:
                ended.append((place, {"sequences": np.array(self._written[place], np.int64)}))
        self._rest.rotate(-1)
        if generation.done:
            self._rest.pop()
        return ended


def _by_beams(jobs: Sequence[Job]) -> list[list[int]]:
    """The places of the jobs, those with equal numbers of beams together."""
    groups: dict[int, list[int]] = {}
    for place, job in enumerate(jobs):
        groups.setdefault(job.settings.num_beams, []).append(place)
    return list(groups.values())


class Writer(Runtime):
    """A variant that writes: `call` and `infer` give `sequences`, (written,) ids, by window."""

    @property
    def model(self) -> Seq2SeqModel:
        model: Seq2SeqModel = self._graphs
        return model

    def call(self, windows: Sequence[Window]) -> list[Outputs]:
        """What is written about every window, in order."""
        return [output for output in self.generate(windows) if output is not None]

    def generate(
        self, windows: Sequence[Window], cancelled: Sequence[Cancelled] = ()
    ) -> list[Outputs | None]:
        """Write about all windows to the end; what is cancelled gives None."""
        outputs: list[Outputs | None] = [None] * len(windows)
        writing = self.begin(windows, cancelled)
        while not writing.done:
            for place, output in writing.step():
                outputs[place] = output
        return outputs

    def begin(
        self,
        windows: Sequence[Window],
        cancelled: Sequence[Cancelled] = (),
        heard: Sequence[Heard | None] = (),
    ) -> Writing:
        """A call with nothing computed yet.

        cancelled: one for each window, asked before every step
        heard: one for each window, told its final tokens as soon as there are some
        """
        if self.observe:
            self.observe(len(windows), sum(map(len, windows)))
        nobody: list[Heard | None] = [None] * len(windows)
        jobs = [
            Job(window.input_ids, self._settings(window), stop, stream=told is not None)
            for window, stop, told in zip(
                windows, cancelled or [never] * len(windows), heard or nobody, strict=True
            )
        ]
        return Writing(self.model, jobs, heard or nobody)

    def _settings(self, window: Window) -> GenerationSettings:
        """Its own, or those of the manifest."""
        if isinstance(window, Source):
            return window.settings
        assert isinstance(self.task, GenerateSummary)
        return self.task.settings

    # --- loading

    def _open(self, threads: int) -> Seq2SeqModel:
        encoder, decoder = (
            open_session(self.folder / name, self.provider, threads)
            for name in (ENCODER_NAME, DECODER_NAME)
        )
        try:
            return Seq2SeqModel(encoder, decoder, self.task.tokenizer.pad_id)
        except ArtifactError as error:
            raise ArtifactError(f"{self.folder}: {error.message}", AGAIN) from error

    def _trial(self, graphs: Any, windows: Sequence[Window]) -> Any:
        """A few tokens: each costs the same."""
        jobs = [
            Job(
                window.input_ids,
                self._settings(window).replace(
                    max_new_tokens=TRIAL_TOKENS, min_new_tokens=TRIAL_TOKENS
                ),
            )
            for window in windows
        ]
        return results_of(Generation(graphs, jobs))

    def _try(self, windows: Sequence[Window]) -> None:
        settings = self._settings(windows[0])
        memory = self.model.encode([windows[0].input_ids])
        logits = self.model.step(np.array([settings.decoder_start_token_id]), memory)
        if not np.isfinite(logits).all():
            raise ArtifactError(
                f"{self.folder / DECODER_NAME} gives logits that are not finite for one text.",
                AGAIN,
            )
        _require_known_tokens(settings, logits.shape[1], self.folder / DECODER_NAME)
        self._trial(self.model, windows)


def _require_known_tokens(settings: GenerationSettings, vocabulary: int, graph: Path) -> None:
    named = [
        settings.decoder_start_token_id,
        *settings.eos_token_ids,
        *settings.forced_eos_token_ids,
        *([] if settings.forced_bos_token_id is None else [settings.forced_bos_token_id]),
    ]
    if max(named) >= vocabulary:
        raise ArtifactError(
            f"{graph} knows {vocabulary} tokens; its manifest names token {max(named)}.", AGAIN
        )
