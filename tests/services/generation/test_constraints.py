"""What may not come next, and what must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.generation.constraints import constrain, forced_tokens, repeated_ngrams
from services.generation.settings import GenerationSettings

VOCABULARY = 6
SETTINGS = GenerationSettings(eos_token_ids=[1], max_new_tokens=5, no_repeat_ngram_size=0)


def allowed(sequence: list[int], settings: GenerationSettings) -> list[int]:
    scores = np.zeros((1, VOCABULARY), np.float32)
    constrain(scores, np.array([sequence]), settings)
    return np.flatnonzero(np.isfinite(scores[0])).tolist()


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=12, max_size=12), min_size=1, max_size=3),
    st.integers(1, 12),
    st.integers(1, 5),
)
def test_no_ngram_is_completed_twice(sequences: list[list[int]], length: int, size: int) -> None:
    cut = [sequence[:length] for sequence in sequences]
    hypotheses, tokens = repeated_ngrams(np.array(cut), size)
    found = set(zip(hypotheses.tolist(), tokens.tolist(), strict=True))
    expected = set()
    for number, sequence in enumerate(cut):
        ngrams = {tuple(sequence[i : i + size]) for i in range(length - size + 1)}
        recent = tuple(sequence[length - size + 1 :]) if length >= size - 1 else None
        for token in range(4):
            if recent is not None and (*recent, token) in ngrams:
                expected.add((number, token))
    assert found == expected


@pytest.mark.parametrize(
    ("options", "sequence", "expected"),
    [
        ({}, [0, 2, 3], [0, 1, 2, 3, 4, 5]),
        ({"min_new_tokens": 3}, [0, 2, 3], [0, 2, 3, 4, 5]),
        ({"min_new_tokens": 2}, [0, 2, 3], [0, 1, 2, 3, 4, 5]),
        ({"no_repeat_ngram_size": 1}, [0, 2, 3], [1, 4, 5]),
        ({"no_repeat_ngram_size": 2}, [0, 2, 0], [0, 1, 3, 4, 5]),  # the start token counts
        ({"forced_bos_token_id": 4}, [0], [4]),
        ({"forced_bos_token_id": 4}, [0, 4], [0, 1, 2, 3, 4, 5]),
        ({"forced_eos_token_ids": [1]}, [0, 2, 3, 4, 5], [1]),
        ({"forced_eos_token_ids": [1, 3]}, [0, 2, 3, 4, 5], [1, 3]),
        ({"forced_eos_token_ids": [1], "min_new_tokens": 9}, [0, 2, 3, 4, 5], [1]),
        ({"forced_eos_token_ids": [1], "no_repeat_ngram_size": 1}, [0, 1, 2, 3, 4], [1]),
    ],
)
def test_what_is_allowed(options: dict[str, object], sequence: list[int], expected: list[int]):
    assert allowed(sequence, SETTINGS.replace(**options)) == expected


def test_a_forced_token_costs_nothing() -> None:
    scores = np.full((2, VOCABULARY), -3.0, np.float32)
    constrain(scores, np.array([[0], [0]]), SETTINGS.replace(forced_bos_token_id=4))
    assert scores[:, 4].tolist() == [0.0, 0.0]


def test_the_last_token_is_forced_only_where_a_token_is_named() -> None:
    assert forced_tokens(4, SETTINGS) == []
    assert forced_tokens(4, SETTINGS.replace(forced_eos_token_ids=[1])) == [1]
    assert forced_tokens(3, SETTINGS.replace(forced_eos_token_ids=[1])) == []
