"""Labelled rows, and how right answers are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from load_tests.gpu.rows import read_rows, score
from services.errors import UsageError


def test_json_lines_for_a_classifier(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n\n{"text": "b", "labels": ["x", "y"]}\n')
    rows = read_rows(path, "classify")
    assert [row["expected"] for row in rows] == [["x"], ["x", "y"]]
    results = [{"label": "x"}, {"label": "x", "chosen": ["x"]}]
    assert score("classify", results, rows) == 0.75


def test_squad_for_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    answered = {"question": "q", "answers": [{"text": "two weeks"}, {"text": "weeks"}]}
    paragraph = {"context": "c", "qas": [answered, {"question": "r", "answers": []}]}
    path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    rows = read_rows(path, "qa")
    assert rows[0]["body"] == {"question": "q", "context": "c"}
    assert score("qa", [{"answer": "weeks"}, {"answer": None}], rows) == 1.0
    assert score("qa", [{"answer": None}, {"answer": "x"}], rows) == 0.0


@pytest.mark.parametrize("text", ["", '{"text": "a"}', "no json", '["a"]'])
def test_a_file_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"rows\.jsonl has no rows"):
        read_rows(path, "classify")


def test_summaries_are_not_scored_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected classify or qa"):
        read_rows(tmp_path / "rows.jsonl", "summarize")
