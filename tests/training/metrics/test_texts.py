"""ROUGE by sentences, BLEU with several references, exact match."""

from __future__ import annotations

import pytest
import sacrebleu

from training.metrics.texts import bleu, text_figures

TEXTS = ["The pump failed. A seal was worn.", "It rained on the field all day."]
GOLDS = [["A seal was worn. The pump failed."], ["It rained on the field.", "Rain all day."]]


def test_rouge_lsum_takes_each_sentence_as_a_line() -> None:
    found = text_figures(TEXTS[:1], GOLDS[:1])
    assert found["rouge1"]["value"] == 1.0
    assert found["rougeLsum"]["value"] == pytest.approx(1.0)  # the order of sentences is free
    assert found["rougeL"]["value"] < 1.0


def test_the_best_of_several_references_counts_for_rouge() -> None:
    found = text_figures(TEXTS, GOLDS)
    assert found["rouge1"]["value"] == pytest.approx((1 + 2 * 5 / 12) / 2)
    assert found["rouge2"]["ci_low"] <= found["rouge2"]["value"] <= found["rouge2"]["ci_high"]


def test_bleu_is_sacrebleus_also_with_different_numbers_of_references() -> None:
    found = bleu(TEXTS, GOLDS)
    expected = sacrebleu.corpus_bleu(TEXTS, [[golds[0] for golds in GOLDS], [None, GOLDS[1][1]]])
    assert found["value"] == pytest.approx(expected.score / 100)
    assert "tok:13a" in found["signature"]


def test_exact_match_forgives_case_articles_and_punctuation() -> None:
    found = text_figures(["the pump failed", "It rained."], [["A pump failed!"], ["Rain."]])
    assert found["exact_match"]["value"] == 0.5
