"""The rows that a variant gets wrong, the worst first."""

from __future__ import annotations

import pytest

from export.errors import find_variant, shown, worst_rows
from export.publish import publish, write_lock
from services.errors import UsageError
from services.runtime import Runtime
from tests.services import tiny
from training.held_out import Exam
from training.rows import Document, LabelledText, Question


def worst(folder, job, rows, outside="", most=9):
    runtime = Runtime.load(tiny.write_variant(folder / job, job))
    found = worst_rows(runtime, Exam("made up", rows, outside, 1), most)
    return [(fault["asked"], fault["right"], fault["says"]) for fault in found]


def test_a_wrong_label_and_an_answer_out_of_scope_are_errors(tmp_path):
    rows = [
        LabelledText("send money", ("transfer_money",)),
        LabelledText("freeze my card", ("check_balance",)),
        LabelledText("send the bill", ("oos",)),
        LabelledText("the a of", ("oos",)),  # abstained
    ]
    assert sorted(worst(tmp_path, "intent", rows, "oos")) == [
        ("freeze my card", "check_balance", "freeze_card"),
        ("send the bill", "oos", "transfer_money"),
    ]


def test_labels_are_wrong_unless_all_are_right(tmp_path):
    rows = [
        LabelledText("happy and angry", ("joy",)),
        LabelledText("happy", ("joy",)),
        LabelledText("the card", ()),
    ]
    assert worst(tmp_path, "emotion", rows) == [("happy and angry", "joy", "joy, anger")]


def test_a_wrong_span_and_an_answer_that_is_not_there_are_errors(tmp_path):
    rows = [
        Question("1", "where?", "it is in paris", (("paris", 9),)),
        Question("2", "when?", "it is in paris", (("it", 0),)),
    ]
    assert worst(tmp_path, "reader", rows) == [("when? || it is in paris", "it", "paris")]
    rows.append(Question("3", "when?", "monday", ()))  # now some have no answer
    assert ("when? || monday", None, "monday") in worst(tmp_path / "some", "reader", rows)


def test_the_worst_summaries_come_first_and_no_more_than_asked_for(tmp_path):
    sentences = ("the a of my card.", "this is important.")
    rows = [
        Document(sentences, references=("this is important now.",)),
        Document(sentences, references=("the a of my card.",)),
    ]
    assert worst(tmp_path, "highlights", rows, most=1) == [
        ("the a of my card. this is important.", "the a of my card.", "this is important.")
    ]


def test_they_are_shown_with_their_score():
    fault = {"value": 0.0, "score": 0.97, "asked": "a text", "right": "x", "says": "y"}
    assert shown([fault]) == "0.97 (0.00)  says 'y', right is 'x'\n    a text"


def test_a_variant_is_found_by_its_name(home, tmp_path):
    tag = publish(tiny.write_variant(tmp_path / "intent", "intent", "full"))
    write_lock(tmp_path / "lock.json", {"intent/full": tag})
    assert find_variant(tmp_path / "lock.json", "intent", "full").key == "intent/full"
    with pytest.raises(UsageError, match="intent/small is not published"):
        find_variant(tmp_path / "lock.json", "intent", "small")
