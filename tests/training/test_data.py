"""Typed rows: every bad one is told, splits are fair, and nothing leaks from one to another."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.errors import UsageError
from tests.training.tiny_data import write_jsonl
from training.data import (
    ROOT,
    DataError,
    Document,
    LabelledText,
    Question,
    hold_out,
    label_names,
    load_data,
    rows_for,
    sample,
    sample_rows,
    with_null_questions,
)
from training.evaluate import summary_length
from training.recipe import Recipe, load_recipe

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


def test_no_data_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Recipe x names no data"):
        load_data(recipe(""))


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


def test_rows_for_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.csv does not exist"):
        rows_for("sequence-classification", tmp_path / "gone.csv")


# What cannot be learned


def test_a_label_seen_only_in_test_is_refused(tmp_path: Path) -> None:
    train = [{"text": f"{i}", "label": label} for i in range(20) for label in "ab"]
    write_jsonl(tmp_path / "train.jsonl", train)
    test = [{"text": "new", "label": "c"}, {"text": "old", "label": "a"}]
    write_jsonl(tmp_path / "test.jsonl", test)
    with pytest.raises(DataError, match=r"Labels seen only in test: 'c' \(1 rows\)"):
        load_data(recipe(tmp_path))


def test_the_out_of_scope_label_may_be_seen_only_in_test(tmp_path: Path) -> None:
    train = [{"text": f"{i}", "label": label} for i in range(20) for label in "ab"]
    write_jsonl(tmp_path / "train.jsonl", train)
    write_jsonl(tmp_path / "test.jsonl", [{"text": "new", "label": "other"}])
    splits = load_data(recipe(tmp_path, out_of_scope="other"))
    assert [row.labels for row in splits["test"]] == [("other",)]


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("sequence-classification", {"label": "one"}, "has the labels .'one'. alone"),
        ("question-answering", {"question": "Q?", "answers": []}, "answers none of its questions"),
        ("sentence-extraction", {"references": "short"}, "marks no key sentence"),
    ],
)
def test_rows_that_teach_nothing_are_refused(
    tmp_path: Path, kind: str, row: dict[str, Any], message: str
) -> None:
    texts = [{"text": f"Text {i}.", "context": f"Text {i}.", **row} for i in range(20)]
    with pytest.raises(DataError, match=message):
        load_data(recipe(write_jsonl(tmp_path / "a.jsonl", texts), kind))


def test_too_few_rows_for_three_splits_are_refused(tmp_path: Path) -> None:
    rows = [{"text": "one", "label": "a"}, {"text": "two", "label": "b"}]
    with pytest.raises(DataError, match="leaves no rows for dev"):
        load_data(recipe(write_jsonl(tmp_path / "a.jsonl", rows)))


# Splits


def labelled(count: int, *labels: str) -> list[LabelledText]:
    return [LabelledText(f"{labels} number {i}", labels) for i in range(count)]


def test_splits_do_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = [{"text": f"{label} {i}", "label": label} for i in range(30) for label in "abc"]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    first = load_data(recipe(path))
    assert load_data(recipe(path)) == first
    random.Random(1).shuffle(rows)
    again = load_data(recipe(write_jsonl(tmp_path / "b.jsonl", rows)))
    assert {k: set(v) for k, v in again.items()} == {k: set(v) for k, v in first.items()}


def test_splits_depend_on_the_seed() -> None:
    rows = labelled(100, "a")
    assert hold_out(rows, 0.1, 1, "test") != hold_out(rows, 0.1, 2, "test")


def test_every_label_gives_its_share() -> None:
    rows = [*labelled(100, "a"), *labelled(50, "b"), *labelled(20, "c")]
    kept, held = hold_out(rows, 0.1, 7, "test")
    assert Counter(row.labels[0] for row in held) == {"a": 10, "b": 5, "c": 2}
    assert len(kept) + len(held) == len(rows)


def test_many_small_groups_give_their_share_together() -> None:
    rows = [row for i in range(40) for row in labelled(3, "common", f"rare {i}")]
    _, held = hold_out(rows, 0.1, 7, "test")
    assert len(held) == 12


def test_the_last_row_of_a_label_is_never_held_out() -> None:
    rows = [row for i in range(50) for row in labelled(1, f"only {i}")]
    kept, held = hold_out(rows, 0.5, 7, "test")
    assert (len(kept), held) == (50, [])


def test_equal_texts_stay_on_one_side() -> None:
    rows = labelled(50, "a") * 2
    kept, held = hold_out(rows, 0.2, 7, "test")
    assert len(held) == 20
    assert not {row.text for row in kept} & {row.text for row in held}


def test_a_limit_draws_rows_by_seed_in_their_old_order() -> None:
    rows = list(range(100))
    assert sample(rows, 10, 1) == sorted(sample(rows, 10, 1))
    assert sample(rows, 10, 1) != sample(rows, 10, 2)
    assert sample(rows, 0, 1) == sample(rows, 200, 1) == rows


def test_no_article_is_in_two_splits(data_folder: Path) -> None:
    splits = load_data(recipe(data_folder / "manuals.json", "question-answering"))
    articles = {split: {row.article for row in rows} for split, rows in splits.items()}
    assert all(articles.values())
    assert sum(map(len, articles.values())) == len(set().union(*articles.values())) == 10


def test_without_titles_the_context_is_the_article(tmp_path: Path) -> None:
    rows = [
        {"question": f"{q}?", "context": f"Text {i} is red.", "answers": []}
        for i in range(10)
        for q in "ab"
    ]
    rows[0]["answers"] = [{"text": "red", "answer_start": 10}]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    found = rows_for("question-answering", path)
    kept, held = hold_out(found, 0.3, 7, "test")
    assert len(held) == 6
    assert not {row.context for row in kept} & {row.context for row in held}


# Questions without an answer


def reader_rows() -> list[Question]:
    shipped = load_recipe("sample-manuals")
    return list(load_data(shipped)["train"])


def test_null_questions_never_hold_the_answer() -> None:
    rows = [row for row in reader_rows() if row.answers]
    answers = {row.id: row.answers for row in rows}
    added = with_null_questions(rows, 1.0, 7)[len(rows) :]
    assert len(added) > 100
    for row in added:
        assert row.answers == ()
        for text, _ in answers[row.id.removesuffix("-null")]:
            assert text.casefold() not in row.context.casefold()


def test_null_questions_are_asked_of_their_own_article_in_the_ratio_asked_for() -> None:
    rows = reader_rows()
    contexts = {row.context: row.article for row in rows}
    answered = sum(bool(row.answers) for row in rows)
    made = with_null_questions(rows, 0.25, 7)
    assert made[: len(rows)] == rows
    assert 0.2 * answered <= len(made) - len(rows) <= 0.25 * answered + 1
    assert all(contexts[row.context] == row.article for row in made)
    assert with_null_questions(rows, 0.25, 7) == made


def test_case_does_not_hide_an_answer() -> None:
    rows = [
        Question("1", "Where?", "In PARIS.", (("PARIS", 3),), "a"),
        Question("2", "Who?", "Anna of Paris.", (("Anna", 0),), "a"),
    ]
    added = with_null_questions(rows, 1.0, 7)[2:]
    assert [row.id for row in added] == ["2-null"]


# The sample data


@pytest.mark.parametrize(
    ("kind", "row_type"),
    [
        ("sequence-classification", LabelledText),
        ("question-answering", Question),
        ("sentence-extraction", Document),
        ("seq2seq", Document),
    ],
)
def test_a_hundred_sample_rows_of_each_kind_ship(
    kind: str, row_type: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # from wherever it is called
    rows = sample_rows(kind)
    assert len(rows) == 120
    assert {type(row) for row in rows} == {row_type}
    assert sample_rows(kind) == rows


@pytest.mark.parametrize("preset", ["tickets", "tags", "manuals", "incidents", "headlines"])
def test_the_sample_recipes_load_into_three_splits(preset: str) -> None:
    splits = load_data(load_recipe(f"sample-{preset}"))
    sizes = [len(splits[name]) for name in ("train", "dev", "test")]
    assert sizes[0] > 100 and min(sizes) >= 13


def test_the_sentences_of_a_dialogue_are_its_turns() -> None:
    data = ROOT / "training" / "samples" / "dialogues.jsonl"
    splits = load_data(load_recipe("dialogsum", [f"data={data}"]))
    rows = [row for rows in splits.values() for row in rows]
    assert len(rows) == 8
    for row in rows:
        assert all(turn.startswith(("#Person1#: ", "#Person2#: ")) for turn in row.sentences)
        assert row.references


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("seq2seq", "A: One. Two.\n\nB: Three.\n", ("A: One. Two.", "B: Three.")),
        ("seq2seq", "One. Two.\n", ("One.", "Two.")),
        ("sentence-extraction", "One here. Two\nhere.", ("One here.", "Two here.")),
    ],
)
def test_lines_are_sentences_of_what_a_generator_reads(
    kind: str, text: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    row = {"text": text, "references": ["Short."]}
    path = write_jsonl(tmp_path / "rows.jsonl", [row] * 3)
    assert {row.sentences for row in rows_for(kind, path)} == {expected}


def test_tags_held_out_have_all_numbers_of_labels() -> None:
    splits = load_data(load_recipe("sample-tags"))
    for name in ("dev", "test"):
        assert {len(row.labels) for row in splits[name]} >= {1, 2}


def test_class_names_are_sorted_and_leave_the_outside_out(
    make_recipe: Callable[..., Recipe],
) -> None:
    rows = load_data(make_recipe("intent"))["train"]
    assert label_names(rows, "other") == ["billing", "returns", "shipping"]
    assert json.dumps(label_names(rows)) == '["billing", "other", "returns", "shipping"]'


# More data


@pytest.fixture
def reports(tmp_path: Path) -> Recipe:
    """Ten documents for one sentence, and a recipe `notes` of ten documents for their keys."""
    for name, key in (("reports", [0]), ("notes", [0, 2])):
        rows = [{"sentences": [f"{name} {i}.", "Two.", "Three."], "key": key} for i in range(10)]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    (tmp_path / "notes.yaml").write_text(
        f"{{name: notes, kind: sentence-extraction, data: {tmp_path}/notes.jsonl,"
        " summary_sentences: 0, train_rows: 3, data_licence: MIT, data_attribution: N}",
        encoding="utf-8",
    )
    return recipe(
        tmp_path / "reports.jsonl",
        "sentence-extraction",
        summary_sentences=1,
        data_licence="Apache-2.0",
        data_attribution="R",
        extra_data={str(tmp_path / "notes.yaml"): ""},
    )


def test_extra_rows_join_training_and_dev_and_never_test(reports: Recipe) -> None:
    splits = load_data(reports)
    counts = {split: Counter(row.text.split()[0] for row in rows) for split, rows in splits.items()}
    assert counts == {
        "train": {"reports": 8, "notes": 3},
        "dev": {"reports": 1, "notes": 1},
        "test": {"reports": 1},
    }
    own = load_data(replace(reports, extra_data={}))
    assert splits["test"] == own["test"]
    assert splits["train"][:8] == own["train"]


def test_extra_rows_bring_their_own_summary_length_and_credits(reports: Recipe) -> None:
    row = load_data(reports)["dev"][-1]
    assert (row.summary_sentences, summary_length(row, 1)) == (2, 2)
    assert reports.credits == ("Apache-2.0, MIT", "R; N")


def test_extra_data_that_is_not_there_is_named(reports: Recipe, tmp_path: Path) -> None:
    name = str(tmp_path / "notes.yaml")
    (tmp_path / "empty").mkdir()
    elsewhere = replace(reports, extra_data={name: str(tmp_path / "empty")})
    with pytest.raises(UsageError, match=r"extra_data of recipe x: .*empty holds no data file"):
        load_data(elsewhere)


def test_extra_data_of_another_kind_or_with_more_of_its_own_is_refused(
    reports: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="intent has rows for sequence-classification; x is for"):
        load_data(replace(reports, extra_data={"intent": ""}))
    with pytest.raises(UsageError, match="highlights has extra data of its own"):
        load_data(replace(reports, extra_data={"highlights": ""}))
