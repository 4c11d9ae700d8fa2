"""Text to its most telling sentences: every sentence scored with the document as context.

Graph: input_ids, attention_mask, token_type_ids? -> logits (windows, tokens, 1): token
classification with one label; a sentence's score is the mean over its tokens. After Liu & Lapata
2019 (BertSumExt), without their extra layers, so that the stock export works. How central a
sentence is to the whole text, of which a window shows a part, may count beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.centrality import relative_centrality
from services.sentences import Bounds, own_tokens, split_sentences
from services.tasks.base import Encoded, Outputs, Result, sigmoid
from services.tasks.selection import chosen_sentences
from services.windows import LongText, TextTokenizer, checked_tokens, limit


@dataclass(frozen=True)
class SummarizeSettings:
    """stride: tokens of earlier sentences repeated at the head of the next window.

    block_trigrams: skip a sentence that repeats three words in a row of a chosen one
    (Paulus et al. 2018); without it, one that repeats a chosen one as a whole
    temperature: logits are divided by it (Guo et al. 2017); no order changes, the scores do
    centrality: weight of each sentence's relative centrality beside its logit
    """

    max_tokens: int = 384
    stride: int = 64
    max_sentences: int = 3
    block_trigrams: bool = True
    temperature: float = 1.0
    centrality: float = 0.0


@dataclass(frozen=True, slots=True)
class EncodedDocument(Encoded):
    """sentences: [start, end) in code points; owner: (tokens,) the sentence of each token."""

    sentences: list[Bounds] = field(default_factory=list)
    owner: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


class Summarize:
    """Encode and decode for one extractive summarizer."""

    def __init__(self, tokenizer: TextTokenizer, settings: SummarizeSettings) -> None:
        self.tokenizer = tokenizer
        self.settings = settings

    def encode(
        self, text: str, sentences: Sequence[Bounds] | None = None, long_text: LongText = "window"
    ) -> EncodedDocument:
        """Windows of whole sentences; `sentences` are found in the text unless given."""
        tokens = checked_tokens(self.tokenizer, text)
        room = self.tokenizer.room(self.settings.max_tokens)
        tokens, truncated = limit(tokens, room, long_text, "text")
        bounds, owner = own_tokens(
            tokens, split_sentences(text) if sentences is None else sentences
        )
        pieces = _pack(owner, room, min(self.settings.stride, room // 2))
        windows = self.tokenizer.over(tokens, pieces)
        return EncodedDocument(windows, [tokens], [text], truncated, bounds, owner)

    def logits(self, encoded: EncodedDocument, outputs: Sequence[Outputs]) -> NDArray[np.float64]:
        """(sentences,) mean logit of each sentence's tokens over all windows that show them.

        With `centrality` of the settings, the weighted relative centrality is added.
        """
        sums = np.zeros(len(encoded.sentences))
        counts = np.zeros(len(encoded.sentences))
        for window, output in zip(encoded.windows, outputs, strict=True):
            first, last = window.content
            owners = encoded.owner[window.first : window.first + last - first]
            np.add.at(sums, owners, output["logits"][first:last, 0].astype(np.float64))
            np.add.at(counts, owners, 1.0)
        logits = sums / np.maximum(counts, 1.0)
        if self.settings.centrality:
            text = encoded.texts[0]
            own = relative_centrality([text[slice(*bounds)] for bounds in encoded.sentences])
            logits = logits + self.settings.centrality * own
        return np.asarray(logits, np.float64)

    def scores(self, encoded: EncodedDocument, outputs: Sequence[Outputs]) -> NDArray[np.float64]:
        """(sentences,) in 0..1: the probability that a sentence belongs to the summary."""
        return sigmoid(self.logits(encoded, outputs) / self.settings.temperature)

    def decode(
        self,
        encoded: EncodedDocument,
        outputs: Sequence[Outputs],
        max_sentences: int | None = None,
        max_words: int | None = None,
    ) -> Result:
        text = encoded.texts[0]
        scores = self.scores(encoded, outputs)
        if max_sentences is None and max_words is None:
            max_sentences = self.settings.max_sentences
        chosen = chosen_sentences(
            text,
            encoded.sentences,
            scores,
            max_sentences,
            max_words,
            self.settings.block_trigrams,
        )
        sentences = [
            {"text": text[start:end], "start": start, "end": end, "score": float(score)}
            for (start, end), score in chosen
        ]
        summary = " ".join(" ".join(str(sentence["text"]).split()) for sentence in sentences)
        return {
            "summary": summary,
            "sentences": sentences,
            "compression": len(summary) / len(text),
        }


def _pack(owner: NDArray[np.int64], room: int, stride: int) -> list[tuple[int, int]]:
    """Token ranges of whole sentences, at most `room` tokens each.

    A range starts with the last sentences of the one before, as far as they fit into `stride`
    tokens; a sentence longer than a window is cut.
    """
    total = len(owner)
    firsts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])  # first token of each sentence
    pieces: list[tuple[int, int]] = []
    start = fresh = 0
    while fresh < total:
        end = min(start + room, total)
        if end < total:
            whole = firsts[np.searchsorted(firsts, end, side="right") - 1]
            if whole <= fresh and start < fresh:  # the next sentence fits, but not beside them
                start = fresh
                continue
            end = int(whole) if whole > fresh else end
        pieces.append((start, end))
        fresh = end
        overlap = firsts[(firsts >= fresh - stride) & (firsts < fresh)]
        start = int(overlap[0]) if len(overlap) and fresh in firsts else fresh
    return pieces
