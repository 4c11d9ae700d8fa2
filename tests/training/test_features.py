"""Windows and their targets: what the model is asked to find is what the row says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.tasks.classify import Classify, ClassifySettings
from services.tasks.qa import AnswerQuestions, QaSettings
from services.tasks.summarize import Summarize, SummarizeSettings
from services.windows import TextTokenizer
from training.bases import resolve
from training.data import sample_rows
from training.features import UNKNOWN, Feature, collate, features, stack
from training.rows import Document, LabelledText, Question


@pytest.fixture(scope="module", params=["tiny", "embedded"])
def any_tokenizer(request: pytest.FixtureRequest, tokenizer: TextTokenizer) -> TextTokenizer:
    if request.param == "tiny":
        return tokenizer
    return TextTokenizer.load(resolve("embedded").path / "tokenizer.json")


def answer_of(feature: Feature, row: Question, tokenizer: TextTokenizer) -> str:
    """The characters of the context that the targets point at."""
    window = feature.window
    start, end = (int(feature.targets[name]) for name in ("starts", "ends"))
    offsets = tokenizer.tokens(row.context).offsets
    shift = window.first - window.content[0]
    return row.context[offsets[start + shift][0] : offsets[end + shift][1]]


@pytest.mark.parametrize(("max_tokens", "stride"), [(384, 128), (64, 16)])
def test_answer_tokens_read_back_as_the_answer(
    any_tokenizer: TextTokenizer, max_tokens: int, stride: int
) -> None:
    task = AnswerQuestions(any_tokenizer, QaSettings(max_tokens=max_tokens, stride=stride))
    rows = [row for row in sample_rows("question-answering", 0) if row.answers]
    found = 0
    for row in rows:
        pointing = [f for f in features(task, [row]) if f.targets["starts"] > 0]
        found += bool(pointing)
        for feature in pointing:
            assert answer_of(feature, row, any_tokenizer) == row.answers[0][0]
    assert len(rows) == 251
    assert found == len(rows)


def test_windows_without_the_whole_answer_point_at_the_first_token(
    tokenizer: TextTokenizer,
) -> None:
    context = "nothing here . " * 40 + "the red lamp . " + "nothing there . " * 40
    row = Question("1", "Which lamp?", context, (("red", context.index("red")),))
    task = AnswerQuestions(tokenizer, QaSettings(max_tokens=48, stride=8))
    made = features(task, [row])
    pointing = [feature for feature in made if feature.targets["starts"] > 0]
    assert len(made) > 5 and 1 <= len(pointing) <= 2
    for feature in made:
        first, last = feature.window.content
        position = int(feature.targets["starts"])
        assert position == 0 == feature.targets["ends"] or first <= position < last
        assert len(feature.window) <= 48


def test_no_answer_points_at_the_first_token(tokenizer: TextTokenizer) -> None:
    task = AnswerQuestions(tokenizer, QaSettings())
    (made,) = features(task, [Question("1", "Who?", "The red lamp.", ())])
    assert (made.targets["starts"], made.targets["ends"]) == (0, 0)


def test_characters_without_a_token_do_not_hide_an_answer(tokenizer: TextTokenizer) -> None:
    context = "It is \u200bred\u200b now."  # zero-width spaces
    row = Question("1", "Colour?", context, (("\u200bred\u200b", 6),))
    (made,) = features(AnswerQuestions(tokenizer, QaSettings()), [row])
    assert answer_of(made, row, tokenizer) == "red"


def test_one_label_is_a_number_and_several_are_a_vector(tokenizer: TextTokenizer) -> None:
    labels = ["a", "b", "c"]
    one = Classify(tokenizer, ClassifySettings(labels=labels))
    several = Classify(tokenizer, ClassifySettings(labels=labels, multi_label=True))
    assert features(one, [LabelledText("hi", ("c",))])[0].targets["targets"] == 2
    row = LabelledText("hi", ("c", "a"))
    assert features(several, [row])[0].targets["targets"].tolist() == [1.0, 0.0, 1.0]


def test_every_window_of_a_long_text_has_its_label(tokenizer: TextTokenizer) -> None:
    task = Classify(tokenizer, ClassifySettings(labels=["a", "b"], max_tokens=32, stride=8))
    made = features(task, [LabelledText("the machine " * 60, ("b",))])
    assert len(made) > 3
    assert {int(feature.targets["targets"]) for feature in made} == {1}


def test_each_token_knows_its_sentence_and_each_sentence_its_label(
    tokenizer: TextTokenizer,
) -> None:
    row = Document(("One thing.", "The machine is red.", "So."), key=(1,))
    (made,) = features(Summarize(tokenizer, SummarizeSettings()), [row])
    tokens = tokenizer.tokens(row.text)
    first, last = made.window.content
    for (start, _), owner in zip(
        tokens.offsets, made.targets["token_sentence"][first:last], strict=True
    ):
        left, right = row.bounds[owner]
        assert left <= start < right
    assert made.targets["sentence_labels"].tolist() == [0.0, 1.0, 0.0]
    assert made.targets["token_sentence"][0] == made.targets["token_sentence"][-1] == -1


def test_every_key_sentence_is_positive_in_some_window(tokenizer: TextTokenizer) -> None:
    task = Summarize(tokenizer, SummarizeSettings(max_tokens=64, stride=16))
    for row in sample_rows("sentence-extraction", 30):
        made = features(task, [row])
        assert sum(feature.targets["sentence_labels"].sum() for feature in made) >= len(row.key)


def test_a_batch_is_padded_with_what_the_losses_ignore(tokenizer: TextTokenizer) -> None:
    rows = [Document(("Short.",), (0,)), Document(("A longer one.", "And more."), (1,))]
    made = features(Summarize(tokenizer, SummarizeSettings()), rows)
    taught = [{"logits": np.ones((len(f.window), 1), np.float32)} for f in made]
    batch = collate(made, 0, ["input_ids", "attention_mask"], taught)
    width = max(len(feature.window) for feature in made)
    short = len(made[0].window)
    assert sorted(batch) == [
        "attention_mask",
        "input_ids",
        "sentence_labels",
        "teacher_logits",
        "token_sentence",
    ]
    assert batch["input_ids"].shape == (2, width)
    assert batch["attention_mask"].sum(dim=1).tolist() == [short, width]
    assert batch["token_sentence"][0, short:].unique().tolist() == [-1]
    assert batch["sentence_labels"].tolist() == [[1.0, UNKNOWN], [0.0, 1.0]]
    assert batch["teacher_logits"][0, :, 0].tolist() == [1.0] * short + [0.0] * (width - short)


def test_stack_pads_the_first_axis_alone() -> None:
    stacked = stack([np.ones((1, 2)), np.ones((3, 2))], 9)
    assert torch.equal(stacked[0], torch.tensor([[1.0, 1], [9, 9], [9, 9]]).double())
    assert stack([np.array(1), np.array(2)], 0).tolist() == [1, 2]
