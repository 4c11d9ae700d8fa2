"""The metrics are those of the field: SQuAD's, scikit-learn's, ROUGE's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from services.tasks.base import Outputs
from services.tasks.classify import Classify, ClassifySettings
from services.tasks.qa import AnswerQuestions, QaSettings
from services.tasks.summarize import Summarize, SummarizeSettings
from services.tasks.zeroshot import ZeroShot, ZeroShotSettings
from services.windows import TextTokenizer
from training.evaluate import (
    Evaluation,
    agreement,
    answer_f1,
    encode_row,
    evaluate,
    label_f1,
    normalize_answer,
    paired_loss,
    score,
    score_summaries,
)
from training.rows import Document, LabelledText, Question


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Cat", "cat"),
        ("an  apple, a pear", "apple pear"),
        ("theatre", "theatre"),
        ("U.S.A.", "usa"),
        ("the", ""),
        ("Zürich-West!", "zürichwest"),
    ],
)
def test_answers_are_normalized_as_squad_does(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@pytest.mark.parametrize(
    ("predicted", "truth", "f1"),
    [
        ("the red lamp", "Red lamp!", 1.0),
        ("red lamp", "green lamp", 0.5),
        ("lamp", "the red lamp", 2 / 3),
        ("lamp lamp", "lamp", 2 / 3),
        ("key", "lamp", 0.0),
        ("", "", 1.0),
        ("", "lamp", 0.0),
        ("lamp", "", 0.0),
        ("the", "a", 1.0),  # nothing is left of either
    ],
)
def test_f1_is_the_overlap_of_words(predicted: str, truth: str, f1: float) -> None:
    assert answer_f1(predicted, truth) == pytest.approx(f1)


def test_macro_f1_is_scikit_learns() -> None:
    generator = np.random.default_rng(1)
    truth, chosen = generator.random((2, 40, 6)) < 0.3
    truth[:, 5] = chosen[:, 5] = False  # neither there nor chosen
    expected = f1_score(truth, chosen, average="macro", zero_division=0.0)
    assert label_f1(truth, chosen).mean() == pytest.approx(expected)


# Each task


def classified(
    tokenizer: TextTokenizer, truth: list[str], logits: list[list[float]], threshold: float = 0.0
) -> Evaluation:
    task = Classify(tokenizer, ClassifySettings(labels=["a", "b", "c"], threshold=threshold))
    rows = [LabelledText("x", (label,)) for label in truth]
    encoded = [encode_row(task, row) for row in rows]
    outputs = [[{"logits": np.array(row)}] for row in logits]
    return score(task, rows, encoded, outputs, out_of_scope="other")


def test_accuracy_counts_rows_in_scope_and_never_abstains(tokenizer: TextTokenizer) -> None:
    truth = ["a", "b", "c", "a", "other"]
    logits = [[4.0, 0, 0], [0, 0.1, 0], [0, 4, 0], [4, 0, 0], [0.1, 0, 0]]
    found = classified(tokenizer, truth, logits, threshold=0.5)
    assert (found.metric, found.n, found.value) == ("accuracy", 4, 0.75)
    assert found.answers == ["a", "b", "b", "a"]
    assert found.extra["macro_f1"] == pytest.approx(
        f1_score(truth[:4], found.answers, average="macro")
    )
    # "b" was not sure enough to be shown; the text outside was not either
    assert found.extra["accuracy_with_out_of_scope"] == pytest.approx(3 / 5)
    assert found.extra["out_of_scope_recall"] == 1.0


def test_accuracy_is_scikit_learns(tokenizer: TextTokenizer) -> None:
    generator = np.random.default_rng(2)
    truth = [str(label) for label in generator.choice(list("abc"), 50)]
    found = classified(tokenizer, truth, generator.normal(size=(50, 3)).tolist())
    assert found.value == pytest.approx(accuracy_score(truth, found.answers))
    assert "out_of_scope_recall" not in found.extra


def test_several_labels_are_scored_by_macro_and_micro_f1(tokenizer: TextTokenizer) -> None:
    task = Classify(tokenizer, ClassifySettings(labels=["a", "b"], multi_label=True, threshold=0.5))
    rows = [LabelledText("x", labels) for labels in (("a",), ("a", "b"), (), ("b",))]
    logits = [[2.0, 2], [2, -2], [-2, -2], [-2, 2]]
    outputs = [[{"logits": np.array(row)}] for row in logits]
    found = score(task, rows, [encode_row(task, row) for row in rows], outputs)
    truth = [[1, 0], [1, 1], [0, 0], [0, 1]]
    chosen = [[1, 1], [1, 0], [0, 0], [0, 1]]
    assert found.value == pytest.approx(f1_score(truth, chosen, average="macro"))
    assert found.extra["micro_f1"] == pytest.approx(f1_score(truth, chosen, average="micro"))
    assert found.answers == [(0, 1), (0,), (), (1,)]


def read(tokenizer: TextTokenizer, rows: list[Question], nulls: list[float]) -> Evaluation:
    """A reader that always finds the last word, with the given logit for no answer."""
    task = AnswerQuestions(tokenizer, QaSettings())

    def outputs(tokens: int, null: float) -> Outputs:
        logits = np.zeros(tokens)
        logits[0], logits[-2] = null, 1.0
        return {"start_logits": logits, "end_logits": logits}

    encoded = [encode_row(task, row) for row in rows]
    made = [[outputs(len(e.windows[0]), n)] for e, n in zip(encoded, nulls, strict=True)]
    return score(task, rows, encoded, made)


def question(answers: tuple[tuple[str, int], ...]) -> Question:
    return Question("1", "What is it?", "the red water", answers)


def test_the_best_of_several_answers_counts(tokenizer: TextTokenizer) -> None:
    answers = (("red water", 4), ("water", 8), ("red", 4))
    found = read(tokenizer, [question(answers), question(answers[:1])], [9.0, 9.0])
    # v1.1: where every question has an answer, the reader always gives one
    assert found.answers == ["water", "water"]
    assert found.value == pytest.approx((1 + 2 / 3) / 2)
    assert found.extra == {"exact_match": 0.5}


def test_no_answer_is_right_where_there_is_none(tokenizer: TextTokenizer) -> None:
    rows = [question((("water", 8),)), question(()), question(()), question((("water", 8),))]
    found = read(tokenizer, rows, [-5.0, 5.0, -5.0, 5.0])
    assert found.answers == ["water", "", "water", ""]
    assert (found.value, found.extra["exact_match"]) == (0.5, 0.5)
    assert found.extra["f1_of_answerable"] == 0.5
    assert found.extra["no_answer_f1"] == pytest.approx(0.5)


def test_sentences_are_scored_as_the_summary_that_is_served(tokenizer: TextTokenizer) -> None:
    row = Document(("The lamp is red.", "It rained."), references=("The lamp is red.",))
    task = Summarize(tokenizer, SummarizeSettings())
    (window,) = encode_row(task, row).windows
    first = window.content[0]
    for favourite, expected in ((first, 1.0), (len(window) - 2, 0.0)):
        logits = np.full((len(window), 1), -3.0)
        logits[favourite] = 9.0
        found = score(task, [row], [encode_row(task, row)], [[{"logits": logits}]], "", 1)
        assert found.value == pytest.approx(expected)


def test_rouge_takes_the_best_reference_with_stemming() -> None:
    row = Document(("x",), references=("dogs barking", "the cat sat on the mats"))
    found = score_summaries([row], ["the cat sat on the mat"])
    assert (found.metric, found.value) == ("rouge1", 1.0)
    assert found.extra == {"rouge2": 1.0, "rougeLsum": 1.0}
    half = score_summaries([row], ["dogs sleeping"])
    assert half.value == pytest.approx(0.5)


def test_without_references_the_key_sentences_are_the_reference() -> None:
    row = Document(("One lamp.", "Two keys.", "Three cats."), key=(0, 2))
    assert score_summaries([row], ["One lamp. Three cats."]).value == 1.0


def test_windows_are_run_in_one_go_and_come_back_to_their_rows(tokenizer: TextTokenizer) -> None:
    task = Classify(tokenizer, ClassifySettings(labels=["a", "b"], max_tokens=16, stride=4))
    rows = [LabelledText("red " * 40, ("a",)), LabelledText("key", ("b",))]
    calls = []

    def infer(windows: list) -> list[Outputs]:  # type: ignore[type-arg]
        calls.append(len(windows))
        return [{"logits": np.array([len(w), 10.0])} for w in windows]

    found = evaluate(task, rows, infer)
    assert len(calls) == 1 and calls[0] > 3
    assert (found.answers, found.value) == (["a", "b"], 1.0)


def test_zero_shot_has_no_metric_of_its_own(tokenizer: TextTokenizer) -> None:
    task = ZeroShot(tokenizer, ZeroShotSettings(labels=["a"]))
    with pytest.raises(TypeError, match="no metric for ZeroShot"):
        score(task, [], [], [])


# How sure


def of(right: list[bool]) -> Evaluation:
    table = np.array(right, float)
    return Evaluation("accuracy", len(right), lambda i: float(table[i].mean()), right)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_interval_holds_the_value_and_is_as_wide_as_it_should_be(share: float) -> None:
    n = 400
    found = of([i < share * n for i in range(n)])
    low, high = found.interval()
    assert low < found.value == share < high
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(share * (1 - share) / n), rel=0.15)
    assert found.interval() == (low, high)


def test_the_record_holds_value_interval_and_size() -> None:
    record = of([True, True, True, False]).record()
    low, high = record.pop("ci_low"), record.pop("ci_high")
    assert record == {"metric": "accuracy", "value": 0.75, "n": 4}
    assert low <= 0.75 <= high


def test_equal_things_lose_nothing_to_each_other() -> None:
    one = of([i % 3 > 0 for i in range(100)])
    assert paired_loss(one, one) == (0.0, 0.0, 0.0)
    assert agreement(one, one) == 1.0


def test_a_paired_loss_is_surer_than_two_intervals() -> None:
    better = of([i % 4 > 0 for i in range(400)])
    worse = of([i % 4 > 0 and i % 20 > 1 for i in range(400)])
    loss, low, high = paired_loss(better, worse)
    assert loss == pytest.approx(better.value - worse.value) == pytest.approx(0.05)
    assert 0 < low < loss < high
    assert high - low < better.interval()[1] - better.interval()[0]
    assert agreement(better, worse) == pytest.approx(0.95)


def test_different_rows_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="3 rows against 2"):
        paired_loss(of([True] * 3), of([True] * 2))
