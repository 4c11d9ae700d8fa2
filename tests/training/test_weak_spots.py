"""Errors are counted where they are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from services.tasks.classify import Classify, ClassifySettings
from services.tasks.qa import AnswerQuestions, QaSettings
from services.tasks.summarize import Summarize, SummarizeSettings
from services.windows import TextTokenizer
from training.evaluate import Evaluation, encode_row, score
from training.rows import Document, LabelledText, Question
from training.weak_spots import (
    OUT_OF_SCOPE,
    Spots,
    answer_length,
    between,
    document_length,
    key_place,
    question_word,
    weak_spots,
)


def found(
    task: Any, rows: list[LabelledText], logits: list[list[float]], outside: str = ""
) -> Spots:
    encoded = [encode_row(task, row) for row in rows]
    outputs = [[{"logits": np.array(row)}] for row in logits]
    evaluation = score(task, rows, encoded, outputs, outside)
    return weak_spots(task, rows, evaluation, encoded, outputs, outside)


def test_the_worst_class_comes_first_and_its_confusions_are_counted(
    tokenizer: TextTokenizer,
) -> None:
    task = Classify(tokenizer, ClassifySettings(["a", "b", "c"], threshold=0.9))
    names = ["a", "a", "b", "b", "c", "c", "other", "other"]
    best = [0, 0, 0, 1, 2, 2, 0, 2]  # one b is taken for a; both others look like something
    logits = [[9.0 if i == b else 0.0 for i in range(3)] for b in best]
    logits[-1] = [0.0, 0.0, 1.0]  # this one is not sure enough to be answered
    spots = found(task, [LabelledText("x", (name,)) for name in names], logits, "other")
    assert [(s["of"], s["n"]) for s in spots["slices"]] == [("b", 2), ("a", 2), ("c", 2)]
    assert spots["slices"][0]["value"] == pytest.approx(2 / 3)
    assert spots["confused"] == [
        {"truth": OUT_OF_SCOPE, "said": "a", "n": 1, "of": 2},
        {"truth": "b", "said": "a", "n": 1, "of": 2},
    ]
    assert json.loads(json.dumps(spots)) == spots


def test_a_missed_label_is_confused_with_what_was_chosen_instead(tokenizer: TextTokenizer) -> None:
    task = Classify(tokenizer, ClassifySettings(["joy", "anger", "awe"], True, threshold=0.5))
    rows = [LabelledText("x", ("joy",)), LabelledText("y", ("joy", "awe")), LabelledText("z", ())]
    spots = found(task, rows, [[-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    assert spots["confused"] == [{"truth": "joy", "said": "anger", "n": 1, "of": 2}]
    assert [(s["of"], s["value"]) for s in spots["slices"]] == [
        ("anger", 0.0),
        ("awe", 0.0),
        ("joy", pytest.approx(2 / 3)),
    ]
    assert json.loads(json.dumps(spots))["slices"][0]["n"] == 0


def evaluation(values: list[float], metric: str) -> Evaluation:
    table = np.array(values)
    return Evaluation(metric, len(values), lambda i: float(table[i].mean()), values)


def test_questions_are_sliced_by_answer_word_and_text(tokenizer: TextTokenizer) -> None:
    task = AnswerQuestions(tokenizer, QaSettings())
    long, short = (("at the old mill by the river bank", 0),), (("mill", 0),)
    rows = [
        *[Question(str(i), "Where is it?", "word " * 10, short) for i in range(5)],
        *[Question(str(i), "Why is it?", "word " * 150, long) for i in range(5)],
        *[Question(str(i), "Is it?", "word " * 150, ()) for i in range(4)],  # too few to tell
    ]
    values = [1.0] * 5 + [0.2] * 5 + [0.0] * 4
    spots = weak_spots(task, rows, evaluation(values, "f1"), [], [])
    assert [(s["by"], s["of"], s["n"], round(s["value"], 3)) for s in spots["slices"]] == [
        ("answer", "7 words or more", 5, 0.2),
        ("answer", "1 word", 5, 1.0),
        ("question word", "why", 5, 0.2),
        ("question word", "where", 5, 1.0),
        ("text", "101 to 200 words", 9, 0.111),
        ("text", "1 to 100 words", 5, 1.0),
    ]
    assert {s["metric"] for s in spots["slices"]} == {"f1"}


def test_documents_are_sliced_by_length_and_place_of_the_key(tokenizer: TextTokenizer) -> None:
    task = Summarize(tokenizer, SummarizeSettings())
    rows = [Document(("A b.", "C d."), key=(i % 2,)) for i in range(10)]
    spots = weak_spots(task, rows, evaluation([i % 2 for i in range(10)], "rouge1"), [], [])
    assert [(s["by"], s["of"], s["value"]) for s in spots["slices"]] == [
        ("document", "1 to 150 words", 0.5),
        ("first key sentence", "the first sentence", 0.0),
        ("first key sentence", "a later sentence", 1.0),
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [(1, "1 word"), (2, "2 to 3 words"), (3, "2 to 3 words"), (4, "4 words or more")],
)
def test_numbers_in_words(value: float, words: str) -> None:
    assert between(value, (1, 3)) == words


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("In what year was it built?", "what"),
        ("Who?", "who"),
        ("Name the river that divides the town.", "none of these"),
    ],
)
def test_the_question_word_need_not_be_the_first(question: str, word: str) -> None:
    assert question_word(Question("1", question, "x", ())) == word


def test_slices_of_single_rows() -> None:
    several = (("in the old mill", 0), ("mill", 11))
    assert answer_length(Question("1", "?", "x", several)) == "1 word"
    assert answer_length(Question("1", "?", "x", ())) == "no answer in the text"
    assert document_length(Document(("word " * 400,))) == "301 words or more"
    assert key_place(Document(("A.", "B."), references=("C.",))) == "not marked"
