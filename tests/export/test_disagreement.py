"""Where two variants disagree, on tiny graphs whose every answer is known."""

from __future__ import annotations

import pytest

from export.compare import bodies_of
from export.disagreement import disagreement, look
from services.runtime import Runtime
from services.schemas import TASKS, convert_request
from tests.services import tiny
from training.rows import Document, LabelledText, Question

INTENTS = [
    LabelledText("send money", ("transfer_money",)),
    LabelledText("freeze my card", ("freeze_card",)),
    LabelledText("my card is stolen", ("freeze_card",)),
    LabelledText("my balance", ("check_balance",)),
]
OUTSIDE = LabelledText("happy paris", ("oos",))
EMOTIONS = [
    LabelledText("happy", ("joy",)),
    LabelledText("angry", ("anger",)),
    LabelledText("the parcel", ()),
]
QUESTIONS = [
    Question(str(i), "what", f"the answer is {word} please", ((word, 14),), f"article {i}")
    for i, word in enumerate(["twenty", "paris", "monday"] * 2)
]


def runtime(tmp_path, model, missing=()):
    """A variant that does not know the words in `missing`."""
    job = tiny.JOBS[model]
    table = {word: row for word, row in job["table"].items() if word not in missing}
    name = "full" if not missing else "distilled"
    folder = tiny.write_variant(tmp_path / name, model, name, graph=job["make"](table))
    return Runtime.load(folder)


def found(tmp_path, model, missing, rows, out_of_scope=""):
    full = look(runtime(tmp_path, model), rows, out_of_scope)
    return disagreement(full, look(runtime(tmp_path, model, missing), rows, out_of_scope))


def test_rows_that_only_one_has_right_are_counted(tmp_path):
    test = found(tmp_path, "intent", ["stolen"], INTENTS)["mcnemar"]
    assert test == {"full_only": 1, "variant_only": 0, "p": 1.0}


def test_every_class_is_listed_the_one_that_loses_most_first(tmp_path):
    classes = found(tmp_path, "intent", ["stolen"], INTENTS)["classes"]
    assert [one["of"] for one in classes] == ["freeze_card", "check_balance", "transfer_money"]
    lost = {"of": "freeze_card", "n": 2, "metric": "recall", "full": 1.0, "variant": 0.5}
    assert classes[0] == lost


def test_the_worst_example_is_what_full_has_right_and_the_variant_wrong(tmp_path):
    (worst,) = found(tmp_path, "intent", ["stolen"], INTENTS)["worst"]
    assert (worst["row"], worst["asked"]) == (2, "my card is stolen")
    assert worst["right"] == worst["full"] == "freeze_card" != worst["variant"]
    assert 0 <= worst["variant_score"] <= 1


def test_rows_out_of_scope_do_not_count(tmp_path):
    seen = found(tmp_path, "intent", ["stolen"], [OUTSIDE, *INTENTS], "oos")
    assert seen["mcnemar"]["full_only"] == 1
    (worst,) = seen["worst"]
    assert (worst["row"], worst["asked"]) == (3, "my card is stolen"), "of all rows, from 0"
    assert "oos" not in {one["of"] for one in seen["classes"]}


def test_rows_of_a_sample_keep_their_numbers(tmp_path):
    rows, numbers = [OUTSIDE, *INTENTS[1:3]], [10, 20, 30]
    full, other = (
        look(runtime(tmp_path, "intent", missing), rows, "oos", numbers=numbers)
        for missing in ((), ["stolen"])
    )
    (worst,) = disagreement(full, other)["worst"]
    assert (worst["row"], worst["asked"]) == (30, "my card is stolen")


def test_a_variant_that_is_the_same_disagrees_nowhere(tmp_path):
    seen = look(runtime(tmp_path, "intent"), INTENTS)
    same = disagreement(seen, seen)
    assert same["mcnemar"]["p"] == 1.0
    assert same["worst"] == []
    assert same["calibration_error"]["full"] == same["calibration_error"]["variant"]


def test_several_labels_are_right_when_all_are(tmp_path):
    seen = found(tmp_path, "emotion", ["angry"], EMOTIONS)
    assert seen["mcnemar"]["full_only"] == 1
    assert seen["classes"][0] | {"n": 1} == {
        "of": "anger",
        "n": 1,
        "metric": "f1",
        "full": 1.0,
        "variant": 0.0,
    }
    assert seen["worst"][0]["variant"] == "(none)"


def test_answers_are_compared_and_sliced(tmp_path):
    seen = found(tmp_path, "reader", ["paris"], QUESTIONS)
    assert seen["mcnemar"]["full_only"] == 2
    assert {one["right"] for one in seen["worst"]} == {"paris"}
    assert any(one["of"].startswith("answer: ") for one in seen["classes"])


def test_summaries_are_more_or_less_good(tmp_path):
    sentences = [*(f"the card is my {word}." for word in ["bill", "account", "money"]), "urgent."]
    rows = [Document((*sentences, "please send the important parcel."), (4,))] * 2
    seen = found(tmp_path, "highlights", ["important", "urgent"], rows)
    assert "mcnemar" not in seen
    for one in seen["worst"]:
        assert one["full"] != one["variant"]


@pytest.mark.parametrize(
    ("task", "rows"),
    [("classify", INTENTS), ("qa", QUESTIONS), ("summarize", [Document(("a b.", "c d."), (0,))])],
)
def test_rows_become_requests(task, rows):
    bodies = bodies_of("some-model", rows)
    assert len(bodies) == len(rows)
    for body in bodies:
        convert_request(body, TASKS[task])
