"""A recipe's data is read, checked and split; what cannot be learned is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.errors import UsageError
from tests.training.tiny_data import write_jsonl
from training.data import ROOT, load_data, rows_for, sample_rows
from training.evaluate import summary_length
from training.recipe import Recipe, load_recipe
from training.rows import DataError, Document, LabelledText, Question, label_names


def recipe(data: Path | str, kind: str = "sequence-classification", **changes: Any) -> Recipe:
    return Recipe(**{"name": "x", "kind": kind, "data": str(data), **changes})


def test_no_data_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Recipe x names no data"):
        load_data(recipe(""))


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
