"""Texts for the teacher alone: read, or made of the rows, and never those that judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.errors import UsageError
from tests.training.tiny_data import write_jsonl
from training.data import load_data
from training.recipe import Recipe, parse_recipe
from training.unlabelled import derived_texts, unlabelled_texts

MakeRecipe = Callable[..., Recipe]


def test_texts_of_the_data_itself_are_left_out(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("intent")
    splits = load_data(recipe)
    own = [splits[split][0].text.upper() for split in ("train", "dev", "test")]
    texts = [*own, "a new text", "A  new text", "another one"]
    path = write_jsonl(tmp_path / "more.jsonl", [{"text": text} for text in texts])
    found = unlabelled_texts(make_recipe("intent", unlabelled=str(path)), splits)
    assert found == ["A  new text", "another one"]


def test_columns_besides_the_text_are_ignored(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("text,category\nwhere is it,card\nwho are you,\n", encoding="utf-8")
    recipe = make_recipe("intent", unlabelled=str(path))
    assert unlabelled_texts(recipe, load_data(recipe)) == ["where is it", "who are you"]


def test_derived_texts_are_damaged_copies_and_the_same_for_a_seed() -> None:
    texts = [f"please send the parcel number {i} to the old house" for i in range(40)]
    made = derived_texts(texts, 7)
    assert made == derived_texts(texts, 7) != derived_texts(texts, 8)
    for text, damaged in zip(texts, made, strict=True):
        assert damaged and set(damaged.split()) <= set(text.split())
    assert sum(len(damaged.split()) <= 5 for damaged in made) in range(3, 25)


def test_derived_texts_come_from_training_rows_alone(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("intent", unlabelled="derived")
    splits = load_data(recipe)
    words = {word for row in splits["train"] for word in row.text.split()}
    assert all(set(text.split()) <= words for text in unlabelled_texts(recipe, splits))


def test_a_source_without_new_texts_is_refused(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    splits = load_data(make_recipe("intent"))
    for rows, message in (
        ([{"text": splits["train"][0].text}], "has no text besides those of the data"),
        ([{"body": "hello"}], "has no field `text`"),
    ):
        path = write_jsonl(tmp_path / "more.jsonl", rows)
        with pytest.raises(UsageError, match=message):
            unlabelled_texts(make_recipe("intent", unlabelled=str(path)), splits)


def test_other_kinds_have_no_unlabelled_texts() -> None:
    with pytest.raises(UsageError, match="unlabelled is for sequence-classification"):
        parse_recipe({"name": "a", "kind": "question-answering", "unlabelled": "x"}, "a")
