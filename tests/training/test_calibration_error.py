"""The expected calibration error, and what counts as right for each task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.tasks.base import Outputs
from services.tasks.classify import Classify, ClassifySettings
from services.tasks.qa import AnswerQuestions, QaSettings
from services.tasks.summarize import Summarize, SummarizeSettings
from services.windows import TextTokenizer
from training.calibration_error import (
    Calibration,
    calibration,
    expected_calibration_error,
    uncalibrated,
)
from training.evaluate import encode_row
from training.rows import Document, LabelledText, Question


def measured(
    task: Any, rows: list[Any], outputs: list[Outputs], out_of_scope: str = ""
) -> dict[str, Calibration]:
    encoded = [encode_row(task, row) for row in rows]
    several = [[output] for output in outputs]
    return {one.of: one for one in calibration(task, rows, encoded, several, out_of_scope)}


@pytest.mark.parametrize(
    ("scores", "right", "error"),
    [
        ([0.8] * 10, [True] * 8 + [False] * 2, 0.0),
        ([1.0] * 10, [True] * 8 + [False] * 2, 0.2),
        ([0.0] * 4, [False] * 4, 0.0),
        ([0.9, 0.1], [True, True], 0.5),
        ([0.30, 0.31], [True, False], 0.195),  # one bin: their errors meet before they are counted
        ([0.30, 0.60], [True, False], 0.65),  # two bins
    ],
)
def test_it_is_the_gap_of_every_bin(scores: list[float], right: list[bool], error: float) -> None:
    found = expected_calibration_error(np.array(scores), np.array(right))
    assert found == pytest.approx(error)


def test_labels_are_not_allowed_to_cancel() -> None:
    scores = np.array([[0.5, 0.5], [0.5, 0.5]])
    right = np.array([[True, False], [True, False]])
    assert expected_calibration_error(scores, right) == pytest.approx(0.5)
    assert expected_calibration_error(scores.ravel(), right.ravel()) == 0.0


def test_uncalibrated_keeps_thresholds_alone(tokenizer: TextTokenizer) -> None:
    settings = ClassifySettings(["a"], threshold=0.3, temperature=2.0, scope_temperature=1.0)
    plain = uncalibrated(Classify(tokenizer, settings)).settings
    assert (plain.threshold, plain.temperature, plain.scope_temperature) == (0.3, 1.0, 0.0)
    reader = AnswerQuestions(tokenizer, QaSettings(null_bias=2.0, temperature=3.0))
    assert uncalibrated(reader).settings == QaSettings()
    summarizer = Summarize(tokenizer, SummarizeSettings(temperature=3.0))
    assert uncalibrated(summarizer).settings == SummarizeSettings()


def test_one_label_is_measured_with_and_without_the_texts_out_of_scope(
    tokenizer: TextTokenizer,
) -> None:
    rows = [LabelledText("x", (label,)) for label in ("a", "b", "other", "other")]
    logits = [[9.0, -9.0], [-9.0, 9.0], [0.0, -9.0], [0.0, -9.0]]
    outputs = [{"logits": np.array(row)} for row in logits]
    settings = ClassifySettings(["a", "b"], scope_bias=4.0, scope_temperature=0.1)
    found = measured(Classify(tokenizer, settings), rows, outputs, "other")
    inside = found["the best label, texts in scope, by temperature alone"]
    assert (inside.n, inside.before, inside.after) == (2, *[pytest.approx(0, abs=1e-3)] * 2)
    every = found["the best label, wrong for texts out of scope"]
    assert (every.n, every.before) == (4, pytest.approx(0.5, abs=1e-3))
    assert every.after == pytest.approx(0.0, abs=1e-3)
    assert list(measured(Classify(tokenizer, settings), rows[:2], outputs[:2])) == [inside.of]


def test_several_labels_are_measured_one_by_one(tokenizer: TextTokenizer) -> None:
    task = Classify(tokenizer, ClassifySettings(["a", "b"], multi_label=True, temperature=2.0))
    rows = [LabelledText("x", ("a",)), LabelledText("y", ())]
    outputs = [{"logits": np.array([0.0, 0.0])}] * 2
    (found,) = measured(task, rows, outputs).values()
    assert (found.n, found.before, found.after) == (4, 0.25, 0.25)


def test_an_answer_counts_as_right_by_exact_match(tokenizer: TextTokenizer) -> None:
    task = AnswerQuestions(tokenizer, QaSettings(temperature=1e-3, null_bias=-5.0))
    rows = [
        Question("1", "What?", "the red water", answers)
        for answers in ((("water", 8),), (("red water", 4),), ())
    ]
    tokens = len(encode_row(task, rows[0]).windows[0])
    logits = np.zeros(tokens)
    logits[-2] = 1.0  # always "water", and after calibrating always certain of it
    found = measured(task, rows, [{"start_logits": logits, "end_logits": logits}] * 3)
    assert found["the answer, right by exact match"].after == pytest.approx(2 / 3)
    assert found["that there is an answer"].after == pytest.approx(1 / 3)
    only = measured(task, rows[:1], [{"start_logits": logits, "end_logits": logits}])
    assert list(only) == ["the answer, right by exact match"]


def test_sentences_are_measured_where_some_are_marked(tokenizer: TextTokenizer) -> None:
    task = Summarize(tokenizer, SummarizeSettings())
    row = Document(("The lamp is red.", "It rained."), key=(0,))
    (window,) = encode_row(task, row).windows
    outputs = [{"logits": np.zeros((len(window), 1))}]
    (found,) = measured(task, [row], outputs).values()
    assert (found.n, found.after) == (2, 0.0)  # 0.5 for two of which one is right
    assert measured(task, [Document(row.sentences, references=("A lamp.",))], outputs) == {}


def test_the_record_is_what_the_card_shows() -> None:
    made = Calibration("each label", 4, 0.2, 0.1)
    assert made.record() == {"of": "each label", "n": 4, "before": 0.2, "after": 0.1}
