"""Tokens that may not, or must, come next; the order of the rules is that of `transformers`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.generation.settings import GenerationSettings

Scores = NDArray[np.float32]
TokenIds = NDArray[np.int64]


def constrain(scores: Scores, sequences: TokenIds, settings: GenerationSettings) -> None:
    """Set, in place, what is forbidden to -inf; a forced token alone has 0.

    scores: (hypotheses, vocabulary) of one job, logits or log-probabilities
    sequences: (hypotheses, length) what each has so far, the start token first
    """
    written = sequences.shape[1] - 1
    if forced := forced_tokens(written, settings):
        scores.fill(-np.inf)
        scores[:, forced] = 0.0
        return
    if settings.no_repeat_ngram_size:
        hypotheses, tokens = repeated_ngrams(sequences, settings.no_repeat_ngram_size)
        scores[hypotheses, tokens] = -np.inf
    if written < settings.min_new_tokens:
        scores[:, settings.eos_token_ids] = -np.inf


def forced_tokens(written: int, settings: GenerationSettings) -> list[int]:
    """The only tokens allowed after `written` ones; empty where the choice is free."""
    if settings.forced_eos_token_ids and written == settings.max_new_tokens - 1:
        return settings.forced_eos_token_ids
    if settings.forced_bos_token_id is not None and written == 0:
        return [settings.forced_bos_token_id]
    return []


def repeated_ngrams(sequences: TokenIds, size: int) -> tuple[TokenIds, TokenIds]:
    """The tokens that would complete an n-gram for the second time, as (hypotheses, tokens) pairs.

    Every earlier place where a hypothesis' last `size` - 1 tokens stand forbids the token after it
    (Paulus et al. 2018).
    """
    places = max(sequences.shape[1] - size + 1, 0)
    repeated = np.ones((len(sequences), places), np.bool_)
    for offset in range(size - 1 if places else 0):
        recent = sequences[:, places + offset, None]
        repeated &= sequences[:, offset : offset + places] == recent
    hypotheses, found = np.nonzero(repeated)
    return hypotheses, sequences[hypotheses, found + size - 1]
