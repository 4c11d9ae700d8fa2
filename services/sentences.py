"""Where the sentences of a text are, and windows that end where sentences do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sentencex
from numpy.typing import NDArray

from services.windows import Tokens

Bounds = tuple[int, int]


def split_sentences(text: str) -> list[Bounds]:
    """Sentence bounds as code points, surrounding white space left out."""
    bounds = []
    for boundary in sentencex.get_sentence_boundaries("en", text):
        start, end = boundary["start_index"], boundary["end_index"]
        piece = text[start:end]
        start += len(piece) - len(piece.lstrip())
        end -= len(piece) - len(piece.rstrip())
        if start < end:
            bounds.append((start, end))
    return bounds


def own_tokens(
    tokens: Tokens, sentences: Sequence[Bounds]
) -> tuple[list[Bounds], NDArray[np.int64]]:
    """Which sentence each token belongs to; sentences without a token are left out."""
    starts = np.array([start for start, _ in sentences], np.int64)
    token_starts = np.array([start for start, _ in tokens.offsets], np.int64)
    owner = np.maximum(np.searchsorted(starts, token_starts, side="right") - 1, 0)
    present, renumbered = np.unique(owner, return_inverse=True)
    return [sentences[i] for i in present], renumbered.astype(np.int64)


def even_ranges(owner: NDArray[np.int64], room: int) -> list[Bounds]:
    """Token ranges that share a text about equally, each at most `room` long.

    owner: (tokens,) the sentence of each token. A range ends where a sentence does, unless that
    would make it less than half as long as its share.
    """
    total = len(owner)
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])  # first token of each sentence
    ranges: list[Bounds] = []
    start = 0
    while start < total:
        share = -(-(total - start) // -(-(total - start) // room))
        ideal = start + share
        after = int(np.searchsorted(starts, ideal))
        near = [
            int(cut)
            for cut in starts[after - 1 : after + 1]
            if start + share // 2 < cut <= start + room
        ]
        end = min(near, key=lambda cut: abs(cut - ideal)) if near and ideal < total else ideal
        ranges.append((start, end))
        start = end
    return ranges
