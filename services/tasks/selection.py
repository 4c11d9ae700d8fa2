"""Which sentences of a text are told where not all may be: the best that fit, in their order.

chosen_sentences(text, bounds, scores, max_sentences=3)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.sentences import Bounds


def chosen_sentences(
    text: str,
    sentences: Sequence[Bounds],
    scores: NDArray[np.float64],
    max_sentences: int | None = None,
    max_words: int | None = None,
    block_trigrams: bool = False,
) -> list[tuple[Bounds, float]]:
    """The best sentences that fit with their scores, in the order of the text.

    Where not even one fits, it is the beginning of the best one.

    block_trigrams: skip a sentence that repeats three words in a row of a chosen one
        (Paulus et al. 2018); without it, one that repeats a chosen one as a whole
    """
    room_sentences = len(sentences) if max_sentences is None else max_sentences
    room_words = len(text) if max_words is None else max_words
    order = [int(i) for i in np.argsort(-scores, kind="stable")]
    chosen: list[int] = []
    seen: set[tuple[str, ...]] = set()
    told: set[tuple[str, ...]] = set()
    for index in order:
        if len(chosen) == room_sentences:
            break
        words = text[slice(*sentences[index])].lower().split()
        grams = set(zip(words, words[1:], words[2:], strict=False))
        repeated = tuple(words) in told or (block_trigrams and grams & seen)
        if repeated or len(words) > room_words:
            continue
        chosen.append(index)
        room_words -= len(words)
        seen |= grams
        told.add(tuple(words))
    if not chosen:
        best = order[0]
        return [(_first_words(text, sentences[best], room_words), float(scores[best]))]
    return [(sentences[i], float(scores[i])) for i in sorted(chosen)]


def _first_words(text: str, bounds: Bounds, max_words: int) -> Bounds:
    start, end = bounds
    position = start
    for word in text[start:end].split()[:max_words]:
        position = text.index(word, position) + len(word)
    return start, position
