"""Splits are fair, depend on rows and seed alone, and nothing leaks from one to another."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

from tests.training.tiny_data import write_jsonl
from training.data import load_data, rows_for
from training.recipe import Recipe, load_recipe
from training.rows import LabelledText, Question
from training.splits import hold_out, sample, with_null_questions


def recipe(data: Path | str, kind: str = "sequence-classification", **changes: Any) -> Recipe:
    return Recipe(**{"name": "x", "kind": kind, "data": str(data), **changes})


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
