"""A record becomes a typed row, or a line that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny_data import write_jsonl
from training.data import load_data, rows_for
from training.recipe import Recipe
from training.rows import DataError, Document

CONTEXT = "The red car stops."
ANSWER = {"text": "red", "answer_start": 4}
ASKED = {"question": "Colour?", "context": CONTEXT}


def recipe(data: Path | str, kind: str = "sequence-classification", **changes: Any) -> Recipe:
    return Recipe(**{"name": "x", "kind": kind, "data": str(data), **changes})


def faults_of(rows: list[Any], folder: Path, kind: str, **changes: Any) -> list[str]:
    path = write_jsonl(folder / "rows.jsonl", rows)
    with pytest.raises(DataError) as caught:
        load_data(recipe(path, kind, **changes))
    lines = caught.value.message.splitlines()
    assert lines[0] == f"{len(rows)} bad rows:"
    return [line.strip() for line in lines[1:]]


# Bad rows


@pytest.mark.parametrize(
    ("kind", "row", "fault"),
    [
        ("sequence-classification", {"label": "x"}, "text is None; expected text"),
        ("sequence-classification", {"text": "  ", "label": "x"}, "text is '  '; expected text"),
        ("sequence-classification", {"text": 3, "label": "x"}, "text is 3; expected text"),
        ("sequence-classification", {"text": "a"}, "label is None; expected one name"),
        ("sequence-classification", {"text": "a", "label": " "}, "label is ' '; expected one"),
        ("sequence-classification", {"text": "a", "label": ["x", "y"]}, "expected one name"),
        ("sequence-classification", ["a", "x"], "list; expected an object"),
        ("question-answering", {"question": "Q?", "context": "c"}, "answers is missing"),
        ("question-answering", {**ASKED, "question": ""}, "question is ''; expected text"),
        ("question-answering", {**ASKED, "context": None}, "context is None; expected text"),
        ("question-answering", {**ASKED, "answers": "red"}, "answers is 'red'; expected objects"),
        ("question-answering", {**ASKED, "answers": [{"text": "red"}]}, "expected objects with"),
        (
            "question-answering",
            {**ASKED, "answers": {"text": ["red"], "answer_start": []}},
            "expected objects with",
        ),
        (
            "question-answering",
            {**ASKED, "answers": [{**ANSWER, "answer_start": 5}]},
            "answer 'red' is not at character 5",
        ),
        (
            "question-answering",
            {**ASKED, "answers": [{"text": ".", "answer_start": -1}]},
            "is not at character -1",
        ),
        (
            "question-answering",
            {**ASKED, "answers": [{**ANSWER, "answer_start": "4"}]},
            "is not at character 4",
        ),
        (
            "question-answering",
            {**ASKED, "answers": [{"text": "", "answer_start": 0}]},
            "an answer is ''; expected text",
        ),
        ("sentence-extraction", {"key": [0]}, "sentences is None; expected a list"),
        ("sentence-extraction", {"sentences": [" "], "key": [0]}, "expected a list of texts"),
        ("sentence-extraction", {"sentences": ["a", 3], "key": [0]}, "expected a list of texts"),
        ("sentence-extraction", {"sentences": ["a"], "key": [1]}, "key names sentence 1 of 1"),
        ("sentence-extraction", {"sentences": ["a"], "key": [-1]}, "key names sentence -1 of 1"),
        ("sentence-extraction", {"sentences": ["a"], "key": ["0"]}, "expected numbers"),
        ("sentence-extraction", {"sentences": ["a"]}, "neither key sentences nor references"),
        ("seq2seq", {"text": "One. Two."}, "no reference summary"),
        ("seq2seq", {"text": "One. Two.", "references": " "}, "no reference summary"),
        ("seq2seq", {"text": "One. Two.", "references": [3]}, "references is [3]; expected texts"),
    ],
)
def test_a_bad_row_is_told_with_file_line_and_reason(
    tmp_path: Path, kind: str, row: Any, fault: str
) -> None:
    (line,) = faults_of([row], tmp_path, kind)
    assert line.startswith("rows.jsonl:1: ") and fault in line


def test_a_line_that_is_not_json_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": \n', encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl:1: not JSON"):
        load_data(recipe(path))


def test_several_labels_may_be_none_but_not_missing(tmp_path: Path) -> None:
    (line,) = faults_of([{"text": "a"}], tmp_path, "sequence-classification", multi_label=True)
    assert "label is None; expected names or an empty list" in line


def test_all_bad_rows_are_told_at_once_the_first_twenty_in_full(tmp_path: Path) -> None:
    rows = [{"text": "", "label": "x"} for _ in range(25)]
    lines = faults_of(rows, tmp_path, "sequence-classification")
    assert [line.partition(": ")[0] for line in lines[:20]] == [
        f"rows.jsonl:{number}" for number in range(1, 21)
    ]
    assert lines[20] == "... and 5 more"


# Good rows


def test_labels_in_all_their_shapes(tmp_path: Path) -> None:
    values = ["a|b", ["a", "b"], "a | a", "", [], None, 0]
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "t", "labels": v} for v in values])
    found = [row.labels for row in rows_for("sequence-classification", path, multi_label=True)]
    assert found == [("a", "b"), ("a", "b"), ("a",), (), (), (), ("0",)]


def test_answers_as_the_hub_has_them_and_as_squad_has_them(tmp_path: Path) -> None:
    hub = {"text": ["red"], "answer_start": [4]}
    path = write_jsonl(tmp_path / "a.jsonl", [{**ASKED, "answers": a} for a in ([ANSWER], hub, [])])
    found = [row.answers for row in rows_for("question-answering", path)]
    assert found == [(("red", 4),), (("red", 4),), ()]


def test_white_space_around_an_answer_is_no_part_of_it(tmp_path: Path) -> None:
    spaced = {"text": " red ", "answer_start": 3}
    path = write_jsonl(tmp_path / "a.jsonl", [{**ASKED, "answers": [spaced]}])
    (row,) = rows_for("question-answering", path)
    assert row.answers == (("red", 4),)


def test_documents_lose_blank_sentences_and_keep_their_key(tmp_path: Path) -> None:
    rows = [
        {"sentences": ["One\n thing.", " ", "Two."], "key": [2]},
        {"sentences": ["One.", "Two."], "marks": [0, 1], "references": "Short."},
        {"text": "First comes this. Then comes that.", "key": [1]},
    ]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    first, second, third = rows_for("sentence-extraction", path)
    assert first == Document(("One thing.", "Two."), (1,), ())
    assert second == Document(("One.", "Two."), (1,), ("Short.",))
    assert third.sentences == ("First comes this.", "Then comes that.")


def test_bounds_cut_the_sentences_out_of_the_text() -> None:
    row = Document(("One.", "Two words.", "Drei äöü."))
    assert [row.text[start:end] for start, end in row.bounds] == list(row.sentences)
