"""Scores that no real model should give: what is finished is told all the same."""

from __future__ import annotations

import numpy as np

from services.generation.beams import BeamSearch
from services.generation.settings import GenerationSettings


def test_a_real_hypothesis_is_told_however_low_its_score_is() -> None:
    """-6e8 nats over two tokens at a penalty of -1 score -1.2e9, less than what does not exist."""
    settings = GenerationSettings(
        num_beams=2, max_new_tokens=2, length_penalty=-1.0, no_repeat_ngram_size=1
    )
    search = BeamSearch([settings])
    for _ in range(2):
        logits = np.full((len(search.next_tokens), 8), -6e8, np.float32)
        logits[:, 2] = 0.0
        search.advance(logits)
    assert search.done.all()
    assert len(search.result(0)) == 2
    assert search.result(0)[0] == 2


def test_what_is_forbidden_never_finishes() -> None:
    """The first token is forced, so that an end as the first one has a score of -inf."""
    settings = GenerationSettings(num_beams=4, max_new_tokens=3, forced_bos_token_id=3)
    search = BeamSearch([settings])
    for rows in (1, 4):
        search.advance(np.zeros((rows, 5), np.float32))
    assert not search.done.any()
    assert search.settled(0) == [3]
