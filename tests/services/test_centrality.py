"""What a sentence shares with the rest of its text, without a model."""

from __future__ import annotations

import numpy as np
import pytest

from services.centrality import centrality, relative_centrality

STORY = [
    "The pump of line four failed at noon.",
    "Lunch was late.",
    "A worn seal of the pump was the cause, and the pump of line four got a new seal.",
]


def test_a_sentence_that_repeats_the_words_of_others_is_central() -> None:
    found = centrality(STORY)
    assert list(np.argsort(-found)) == [2, 0, 1]


def test_it_is_the_sum_of_the_edges_of_textranks_graph() -> None:
    """Of sentences of equal length, where the mean logarithm is each one's own."""
    words = [["a", "b", "c"], ["a", "b", "d"], ["a", "x", "y"]]
    expected = [
        sum(sum(other.count(word) for word in one) for other in words) / (2 * np.log(3))
        for one in words
    ]
    assert centrality([" ".join(one) for one in words]) == pytest.approx(expected)


def test_case_and_punctuation_do_not_count() -> None:
    assert centrality(["The pump!", "the, pump"]) == pytest.approx(centrality(["the pump"] * 2))


@pytest.mark.parametrize("sentences", [["One."], ["..."], ["...", "Two words."], ["a"] * 3])
def test_short_texts_and_sentences_without_words_have_a_value(sentences: list[str]) -> None:
    found = relative_centrality(sentences)
    assert np.isfinite(found).all()
    assert found.mean() == pytest.approx(0.0)
