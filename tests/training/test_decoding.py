"""Thresholds that are chosen on dev serve it better than those that nobody chose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.tasks.base import Outputs
from services.tasks.classify import Classify, ClassifySettings
from services.tasks.qa import AnswerQuestions, QaSettings
from services.tasks.summarize import Summarize, SummarizeSettings
from services.windows import TextTokenizer
from training.decoding import abstain_threshold, choose_decoding, label_thresholds
from training.evaluate import encode_row, label_f1, score
from training.rows import Document, LabelledText, Question


def decided(task: Any, rows: list[Any], outputs: list[Outputs], **options: Any) -> tuple[Any, Any]:
    """(the chosen task, its evaluation) for one window of outputs per row."""
    encoded = [encode_row(task, row) for row in rows]
    several = [[output] for output in outputs]
    chosen = choose_decoding(task, rows, encoded, several, **options)
    return chosen, score(chosen, rows, encoded, several, **options)


# Several labels


def test_label_thresholds_find_what_half_would_miss() -> None:
    """The first label is underestimated, the second one overestimated."""
    truth = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], bool)
    scores = np.array([[0.3, 0.9], [0.25, 0.7], [0.1, 0.8], [0.15, 0.6]])
    thresholds = label_thresholds(truth, scores)
    assert label_f1(truth, scores >= thresholds).tolist() == [1.0, 1.0]
    assert label_f1(truth, scores >= 0.5).mean() < 0.5
    assert 0.15 < thresholds[0] <= 0.25 and 0.7 < thresholds[1] <= 0.8


def test_label_thresholds_are_never_worse_than_half() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        truth, scores = generator.random((30, 4)) < 0.3, generator.random((30, 4))
        best = label_f1(truth, scores >= label_thresholds(truth, scores))
        assert (best >= label_f1(truth, scores >= 0.5)).all()


def test_a_label_that_dev_never_shows_keeps_the_middle() -> None:
    truth = np.zeros((3, 1), bool)
    assert label_thresholds(truth, np.array([[0.1], [0.2], [0.3]])) == pytest.approx(0.5)


def test_the_thresholds_become_settings(tokenizer: TextTokenizer) -> None:
    task = Classify(tokenizer, ClassifySettings(labels=["a", "b"], multi_label=True))
    rows = [LabelledText("x", ("a",)), LabelledText("y", ("b",)), LabelledText("z", ())]
    logits = [[-1.0, 1.0], [-3.0, 3.0], [-3.0, 1.0]]
    outputs = [{"logits": np.array(row)} for row in logits]
    chosen, found = decided(task, rows, outputs)
    assert found.value == 1.0
    assert chosen.settings.thresholds[0] < 0.5 < chosen.settings.thresholds[1]
    assert task.settings.thresholds == []


# One label, or none of these


def classifier(tokenizer: TextTokenizer) -> Classify:
    return Classify(tokenizer, ClassifySettings(labels=["a", "b"]))


def test_a_threshold_separates_what_is_outside(tokenizer: TextTokenizer) -> None:
    rows = [LabelledText("x", (label,)) for label in ("a", "b", "a", "other", "other")]
    logits = [[3.0, 0.0], [0.0, 3.0], [2.5, 0.0], [0.5, 0.0], [0.0, 0.4]]
    outputs = [{"logits": np.array(row)} for row in logits]
    _, found = decided(classifier(tokenizer), rows, outputs, out_of_scope="other")
    assert found.extra["accuracy_with_out_of_scope"] == 1.0
    assert found.extra["out_of_scope_recall"] == 1.0
    assert found.extra["out_of_scope_auroc"] == 1.0


@pytest.mark.parametrize("out_of_scope", ["", "other"])
def test_without_rows_outside_every_text_is_answered(
    tokenizer: TextTokenizer, out_of_scope: str
) -> None:
    rows = [LabelledText("x", ("a",)), LabelledText("y", ("b",))]
    scores = np.array([[0.6, 0.4], [0.4, 0.6]])
    assert abstain_threshold(classifier(tokenizer), rows, scores, out_of_scope) == 0.0


def test_right_answers_inside_weigh_more_than_wrong_ones_outside(tokenizer: TextTokenizer) -> None:
    rows = [LabelledText("x", (label,)) for label in ("a", "a", "other")]
    scores = np.array([[0.6, 0.4], [0.9, 0.1], [0.7, 0.3]])
    assert abstain_threshold(classifier(tokenizer), rows, scores, "other") <= 0.6


def test_what_a_few_rows_cannot_tell_apart_is_left_at_the_middle(tokenizer: TextTokenizer) -> None:
    """0.61 to 0.7 is the best by one row of fifty."""
    rows = [LabelledText("x", (label,)) for label in ["a"] * 50 + ["other"] * 10]
    first = [0.9] * 50 + [0.1] * 9 + [0.6]
    scores = np.array([[score, 0.0] for score in first])
    assert abstain_threshold(classifier(tokenizer), rows, scores, "other") == 0.5
    first = [0.9] * 50 + [0.8] * 10  # now the middle would be wrong ten times
    scores = np.array([[score, 0.0] for score in first])
    assert 0.8 < abstain_threshold(classifier(tokenizer), rows, scores, "other") <= 0.9


# An answer, or none


def reader_outputs(tokens: int, margin: float, null: float = 0.0) -> Outputs:
    logits = np.full(tokens, -10.0)
    logits[0], logits[-2] = null, null + margin / 2
    return {"start_logits": logits, "end_logits": logits}


def test_the_null_bias_makes_half_the_border(tokenizer: TextTokenizer) -> None:
    task = AnswerQuestions(tokenizer, QaSettings())
    answers = [True] * 10 + [False] * 10
    rows = [
        Question(str(i), "Colour?", "red", (("red", 0),) if answered else ())
        for i, answered in enumerate(answers)
    ]
    tokens = len(encode_row(task, rows[0]).windows[0])
    margins = [8.0 + i % 3 if answered else 3.0 - i % 3 for i, answered in enumerate(answers)]
    outputs = [reader_outputs(tokens, margin) for margin in margins]
    chosen, found = decided(task, rows, outputs)
    assert 3.0 < chosen.settings.null_bias < 8.0
    assert chosen.settings.temperature > 0
    assert (found.value, found.extra["no_answer_f1"]) == (1.0, 1.0)
    untouched = score(task, rows, [encode_row(task, row) for row in rows], [[o] for o in outputs])
    assert untouched.value == 0.5  # it answers always


@pytest.mark.parametrize("answers", [(("red", 0),), ()])
def test_rows_of_one_sort_change_nothing(
    tokenizer: TextTokenizer, answers: tuple[tuple[str, int], ...]
) -> None:
    task = AnswerQuestions(tokenizer, QaSettings())
    rows = [Question(str(i), "Colour?", "red", answers) for i in range(2)]
    tokens = len(encode_row(task, rows[0]).windows[0])
    chosen, _ = decided(task, rows, [reader_outputs(tokens, 1.0)] * 2)
    assert chosen.settings == task.settings


def test_summaries_have_nothing_to_choose(tokenizer: TextTokenizer) -> None:
    task = Summarize(tokenizer, SummarizeSettings())
    assert choose_decoding(task, [], [], []) is task


WORDY = (
    "My bill is late.",
    "The pump failed.",
    "A seal of this pump is broken, the line failed.",
)


def test_centrality_weighs_what_serves_the_rows_best(tokenizer: TextTokenizer) -> None:
    """A model that prefers the first sentence, where the reference repeats the most central one."""
    task = Summarize(tokenizer, SummarizeSettings())
    row = Document(WORDY, (2,), (WORDY[2],))
    other = Document(WORDY, (0,), (WORDY[0],))
    encoded = task.encode(row.text, row.bounds)
    logits = np.full((len(encoded.windows[0]), 1), -1.0, np.float32)
    first, last = encoded.windows[0].content
    logits[first:last][encoded.owner == 0] = 0.0

    def weight(rows: list[Document], sentences: int) -> float:
        outputs = [{"logits": logits} for _ in rows]
        chosen, _ = decided(task, rows, outputs, summary_sentences=sentences)
        return float(chosen.settings.centrality)

    assert weight([row], 1) > 0
    assert weight([other], 1) == 0
    assert weight([row], 3) == 0  # with all sentences chosen every weight is as good
    assert weight([replace(row, summary_sentences=1)], 3) > 0


def test_sentences_may_share_words_where_that_serves_the_rows(tokenizer: TextTokenizer) -> None:
    task = Summarize(tokenizer, SummarizeSettings())
    sentences = ("The pump of line four failed.", "The pump of line four broke.", "It rained.")

    def blocks(*key: int) -> bool:
        row = Document(sentences, key)
        zeros = np.zeros((len(encode_row(task, row).windows[0]), 1), np.float32)
        return bool(decided(task, [row], [{"logits": zeros}])[0].settings.block_trigrams)

    assert not blocks(0, 1)
    assert blocks(0, 2)
