"""What needs no training: the first sentences, and TextRank."""

from __future__ import annotations

import pytest

from training.baselines import baselines, lead, text_rank
from training.recipe import Recipe
from training.rows import Document

ROW = Document(
    (
        "Hello there.",
        "The pump failed because the seal of the pump was worn.",
        "The worn seal of the pump was replaced.",
        "Lunch was late.",
        "The pump and its seal work again.",
    ),
    key=(1, 2),
)


def test_lead_takes_the_first_sentences() -> None:
    assert lead(ROW, 2) == "Hello there. The pump failed because the seal of the pump was worn."


def test_text_rank_takes_whole_sentences_that_share_words_with_the_others() -> None:
    found = text_rank(ROW, 2)
    assert found == f"{ROW.sentences[1]} {ROW.sentences[2]}"


def test_text_rank_of_a_short_document_is_the_document() -> None:
    assert text_rank(Document(("Only this.",), key=(0,)), 3) == "Only this."


@pytest.mark.parametrize("kind", ["sentence-extraction", "seq2seq"])
def test_both_are_scored_for_summaries(kind: str) -> None:
    recipe = Recipe(name="x", kind=kind, summary_sentences=2)
    found = baselines(recipe, [ROW, ROW])["baselines"]
    assert sorted(found) == ["lead_2", "textrank"]
    assert found["textrank"]["value"] == 1.0
    assert 0 < found["lead_2"]["value"] < 1
    assert found["lead_2"]["n"] == 2


def test_other_kinds_have_none() -> None:
    assert baselines(Recipe(name="x", kind="question-answering"), [ROW]) == {}
