"""One loaded encoder-decoder: windows in, written tokens out.

    writer = Runtime.load(folder)                 # a Writer, for a variant that generates
    encoded = writer.task.encode(text, num_beams=1)
    result = writer.task.decode(encoded, writer.infer(encoded.windows))

    for piece in writer.stream(encoded.windows):  # text, as soon as it is final
        print(piece, end="", flush=True)

A window says itself how it is to be written about (`services.tasks.generate_summary.Source`), so
windows of requests with different options may share a call. For more control, `start` gives the
`Generation` of some windows, to be driven step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.errors import ArtifactError
from services.generate import Generation, Job, never, results_of
from services.generation.model import DECODER_NAME, ENCODER_NAME, Seq2SeqModel
from services.generation.settings import GenerationSettings
from services.generation.text import TextStream
from services.registry import AGAIN
from services.runtime import Runtime, open_session
from services.tasks.base import Outputs
from services.tasks.generate_summary import GenerateSummary, Source
from services.windows import Window

Cancelled = Callable[[], bool]

TRIAL_TOKENS = 8  # written for each window when plans are measured


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
        """Write about all windows, those with as many beams together.

        cancelled: one for each window, asked before every step; what is cancelled gives None
        """
        outputs: list[Outputs | None] = [None] * len(windows)
        for rows in self._by_beams(windows):
            asked = [cancelled[row] for row in rows] if cancelled else []
            generation = self.start([windows[row] for row in rows], asked)
            for row, tokens in zip(rows, results_of(generation), strict=True):
                outputs[row] = None if tokens is None else {"sequences": np.array(tokens, np.int64)}
        return outputs

    def start(
        self, windows: Sequence[Window], cancelled: Sequence[Cancelled] = (), stream: bool = False
    ) -> Generation:
        """A generation about windows with equal numbers of beams, nothing computed yet."""
        asked = cancelled or [never] * len(windows)
        jobs = [
            Job(window.input_ids, self._settings(window), stop, stream)
            for window, stop in zip(windows, asked, strict=True)
        ]
        if self.observe:
            self.observe(len(windows), sum(map(len, windows)))
        return Generation(self.model, jobs)

    def stream(self, windows: Sequence[Window], cancelled: Cancelled = never) -> Iterator[str]:
        """The summaries of one text's windows, one after the other, in pieces that are final.

        The pieces, joined, are what `decode` makes of the same windows. With one beam they come
        token by token; with more, as far as all hypotheses agree. Ends early when cancelled.
        """
        begun = False
        for window in windows:
            text = TextStream(self.task.tokenizer.decode)
            first = True
            for piece in self._pieces(window, text, cancelled):
                yield f" {piece}" if begun and first else piece
                begun, first = True, False

    def _pieces(self, window: Window, text: TextStream, cancelled: Cancelled) -> Iterator[str]:
        generation = self.start([window], [cancelled], stream=True)
        while not generation.done:
            for event in generation.step():
                if piece := text.push(event.tokens):
                    yield piece
        if piece := text.finish():
            yield piece

    def _settings(self, window: Window) -> GenerationSettings:
        """Its own, or those of the manifest."""
        if isinstance(window, Source):
            return window.settings
        assert isinstance(self.task, GenerateSummary)
        return self.task.settings

    def _by_beams(self, windows: Sequence[Window]) -> list[list[int]]:
        """Indices of the windows, those with equal numbers of beams together."""
        groups: dict[int, list[int]] = {}
        for index, window in enumerate(windows):
            groups.setdefault(self._settings(window).num_beams, []).append(index)
        return list(groups.values())

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
