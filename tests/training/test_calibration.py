"""Calibrated scores are probabilities; who is the best stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from services.tasks.base import Outputs
from services.tasks.classify import Classify, ClassifySettings
from services.tasks.qa import AnswerQuestions, QaSettings
from services.tasks.summarize import Summarize, SummarizeSettings
from services.windows import TextTokenizer
from training.calibration import binary_temperature, calibrate, class_temperature, platt
from training.evaluate import class_scores, encode_row
from training.rows import Document, LabelledText, Question

RANDOM = np.random.default_rng(3)


def calibrated(task: Any, rows: list[Any], outputs: list[Outputs], **options: str) -> Any:
    encoded = [encode_row(task, row) for row in rows]
    return calibrate(task, rows, encoded, [[output] for output in outputs], **options)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_the_model_too_sure(factor: float) -> None:
    honest = RANDOM.normal(0.0, 2.0, (20_000, 3))
    odds = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    truth = (RANDOM.random((20_000, 1)) > odds.cumsum(axis=1)).sum(axis=1).clip(max=2)
    assert class_temperature(honest * factor, truth) == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_so_does_that_of_yes_or_no_scores(factor: float) -> None:
    honest = RANDOM.normal(0.0, 2.0, (10_000, 2))
    truth = RANDOM.random(honest.shape) < 1 / (1 + np.exp(-honest))
    assert binary_temperature(honest * factor, truth) == pytest.approx(factor, rel=0.05)


def test_a_few_rows_that_are_all_right_make_nothing_certain() -> None:
    logits = np.array([[4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
    temperature = class_temperature(logits, np.array([0, 1, 0]))
    assert np.exp(4 / temperature) / (1 + np.exp(4 / temperature)) == pytest.approx(0.9, abs=0.05)
    assert binary_temperature(logits - 2, logits > 2) > 0.5


def test_platt_scaling_puts_half_where_both_are_equally_likely() -> None:
    values = np.concatenate([RANDOM.normal(4, 1, 4000), RANDOM.normal(0, 1, 1000)])
    yes = np.arange(5000) < 4000
    bias, temperature = platt(values, yes, share=0.5)
    assert bias == pytest.approx(2.0, abs=0.2)  # the middle, though there are more of one
    assert temperature == pytest.approx(0.25, abs=0.05)
    assert platt(values, yes, share=0.8)[0] < bias  # the likelier one needs less


def test_texts_out_of_scope_get_small_scores_whatever_label_is_best(
    tokenizer: TextTokenizer,
) -> None:
    """Equally sure between two labels, but of little energy: only the scope tells them apart."""
    rows = [LabelledText("x", (name,)) for name in ["a", "b"] * 40 + ["other"] * 30]
    inside = [[9.0, 6.0] if i % 2 == 0 else [6.0, 9.0] for i in range(80)]
    outputs = [{"logits": np.array(row)} for row in [*inside, *([[1.0, -2.0]] * 30)]]
    task = calibrated(
        Classify(tokenizer, ClassifySettings(labels=["a", "b"])),
        rows,
        outputs,
        out_of_scope="other",
    )
    encoded = [encode_row(task, row) for row in rows]
    scores = class_scores(task, encoded, [[output] for output in outputs])
    assert scores[:80].max(axis=1).min() > 0.8
    assert scores[80:].max() < 0.2
    assert (scores.sum(axis=1) < 1).all()
    assert scores[:2].argmax(axis=1).tolist() == [0, 1]


def test_without_texts_out_of_scope_nothing_is_taken_from_the_labels(
    tokenizer: TextTokenizer,
) -> None:
    settings = ClassifySettings(labels=["a", "b"], scope_bias=5.0, scope_temperature=2.0)
    rows = [LabelledText("x", ("a",)), LabelledText("y", ("b",))]
    outputs = [{"logits": np.array(row)} for row in ([2.0, 0.0], [0.0, 2.0])]
    task = calibrated(Classify(tokenizer, settings), rows, outputs)
    assert (task.settings.scope_bias, task.settings.scope_temperature) == (0.0, 0.0)
    first = task.scores(encode_row(task, rows[0]), outputs[:1])
    assert first.sum() == pytest.approx(1.0)


def test_rows_all_out_of_scope_say_nothing_about_labels(tokenizer: TextTokenizer) -> None:
    task = Classify(tokenizer, ClassifySettings(labels=["a", "b"]))
    rows = [LabelledText("x", ("other",))]
    outputs = [{"logits": np.array([2.0, 0.0])}]
    assert calibrated(task, rows, outputs, out_of_scope="other") is task


def test_what_was_chosen_before_does_not_count(tokenizer: TextTokenizer) -> None:
    rows = [LabelledText("x", (name,)) for name in "aabb"]
    outputs = [{"logits": np.array(row)} for row in ([3.0, 0], [2.0, 0], [0, 3.0], [1.0, 0])]
    for multi in (False, True):
        fresh = Classify(tokenizer, ClassifySettings(labels=["a", "b"], multi_label=multi))
        once = calibrated(fresh, rows, outputs)
        assert once.settings.temperature != 1.0
        assert calibrated(once, rows, outputs).settings == once.settings


def test_a_summarizers_temperature_comes_from_its_key_sentences(tokenizer: TextTokenizer) -> None:
    row = Document(("The lamp is red.", "It rained."), key=(0,))
    task = Summarize(tokenizer, SummarizeSettings())
    (window,) = encode_row(task, row).windows

    def outputs(first: float, second: float) -> Outputs:
        logits = np.full((len(window), 1), second)
        logits[: window.content[0] + 5] = first
        return {"logits": logits}

    wrong_half_the_time = [outputs(3.0, -3.0), outputs(-3.0, 3.0)] * 10
    found = calibrated(task, [row] * 20, wrong_half_the_time)
    assert found.settings.temperature > 5
    assert calibrated(task, [row] * 20, [outputs(3.0, -3.0)] * 20).settings.temperature < 2
    written = Document(row.sentences, references=("A lamp.",))
    assert calibrated(task, [written], [outputs(3.0, -3.0)]) is task


def test_a_reader_with_answers_alone_is_left_as_it_is(tokenizer: TextTokenizer) -> None:
    task = AnswerQuestions(tokenizer, QaSettings())
    rows = [Question("1", "Colour?", "red", (("red", 0),))]
    tokens = len(encode_row(task, rows[0]).windows[0])
    zeros = np.zeros(tokens)
    assert calibrated(task, rows, [{"start_logits": zeros, "end_logits": zeros}]) is task
