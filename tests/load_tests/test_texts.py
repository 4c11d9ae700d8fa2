"""Texts of a given length: real, different, and exactly as long as they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from load_tests.texts import (
    CONTEXT_WORDS,
    LEAST_TEXTS,
    groups,
    long_context,
    long_texts,
    questions_with_contexts,
    short_texts,
    squad_questions,
)
from services.errors import UsageError


@pytest.mark.parametrize(("make", "words"), [(short_texts, 8), (long_texts, 120)])
def test_texts_are_different_and_of_one_length(make, words) -> None:
    texts = make()
    assert {len(text.split()) for text in texts} == {words}
    assert len(set(texts)) == len(texts) >= LEAST_TEXTS


def test_contexts_hold_the_answer_and_are_as_long_as_those_of_squad() -> None:
    low, high = CONTEXT_WORDS
    pairs = questions_with_contexts()
    assert len(set(pairs)) >= 300
    assert all(low <= len(context.split()) <= high for _, context in pairs)
    assert any("at least one litre" in c for q, c in pairs if q.startswith("How big should"))


def test_a_long_context_has_as_many_characters_as_were_asked_for() -> None:
    assert len(long_context(200_000)) == 200_000
    assert long_context(200_000).startswith(long_context(1_000))


def test_groups_share_no_text() -> None:
    assert groups(["a", "b", "c", "d", "e"], 2) == [["a", "b"], ["c", "d"]]
    assert groups(["a", "b"], 1) == [["a"], ["b"]]


@pytest.mark.parametrize("make", [short_texts, long_texts])
def test_no_two_texts_in_flight_are_equal_so_that_none_is_computed_for_two(make) -> None:
    """Lists that overlapped once made a server that merges equal texts 16 times as fast."""
    lists = groups(make(), 32)
    for first in range(len(lists)):
        flight = [text for turn in range(32) for text in lists[(first + turn) % len(lists)]]
        assert len(set(flight)) == len(flight) == 1024


def test_texts_are_the_same_in_every_run_and_not_in_the_order_of_the_files() -> None:
    assert short_texts() == short_texts()
    assert short_texts()[:3] != sorted(short_texts())[:3]


def test_questions_of_a_squad_file_are_spread_over_it(tmp_path: Path) -> None:
    paragraphs = [
        {"context": f"context {i}", "qas": [{"question": f"question {i}"}]} for i in range(10)
    ]
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    assert squad_questions(path, limit=3) == [
        ("question 0", "context 0"),
        ("question 3", "context 3"),
        ("question 6", "context 6"),
    ]


def test_a_file_that_is_not_squad_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_text("[]")
    with pytest.raises(UsageError, match="not a readable SQuAD file"):
        squad_questions(path)


def test_missing_samples_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"support_tickets\.jsonl cannot be read"):
        short_texts(tmp_path)
