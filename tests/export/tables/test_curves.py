"""What the learning curves say in a table and in sentences."""

from __future__ import annotations

import pytest

from export.tables.curves import plot, table, verdicts


def row(way, examples, mean, std=0.01, seconds=10.0):
    per_class = examples or 130
    return {
        "way": way,
        "strategy": way,
        "options": {},
        "examples": examples,
        "rows_per_class": per_class,
        "mean": mean,
        "std": std,
        "values": [mean - std, mean + std],
        "cpu_seconds": seconds,
    }


@pytest.fixture
def record():
    return {
        "data": "BANK",
        "labels": 77,
        "metric": "accuracy",
        "n": 3080,
        "seeds": {"1": 2, "10": 2, "0": 1},
        "why_fewer_seeds": "time",
        "zero_shot": {"metric": "accuracy", "value": 0.5, "n": 3080},
        "rows": [
            *(row("scratch", 1, 0.02), row("scratch", 10, 0.2), row("scratch", 0, 0.85)),
            *(row("head", 1, 0.4, seconds=1), row("head", 10, 0.7, seconds=1)),
            *(row("head", 0, 0.9, seconds=2), row("full", 1, 0.3), row("full", 10, 0.705)),
            row("full", 0, 0.93, seconds=200),
        ],
    }


def test_the_sentences_tell_start_slope_end_and_winners(record):
    start, slope, end, one, ten, every = verdicts(record)
    assert start == (
        "Higher start: with 1 a class, head reaches 0.400, scratch 0.020; by label names alone, "
        "without an example, 0.500."
    )
    assert slope == (
        "Steeper slope: from 1 a class to 10 a class, of all that transfer full gains most, 40.5 "
        "points; scratch, from where it began, 18.0."
    )
    assert end == "Higher end: with all (130 a class), full reaches 0.930, scratch 0.850."
    assert one == "1 a class: head wins (0.400)."
    assert ten == (
        "10 a class: full wins (0.705); as good within a point or the spread: head; the quickest "
        "of them: head, 1 s."
    )
    assert every == "all (130 a class): full wins (0.930)."


def test_the_table_has_a_line_for_each_way_and_marks_the_best(record):
    text = table(record)
    assert "| strategy | 1 a class | 10 a class | all (130 a class) |" in text
    assert "| head | **0.400 ± 0.010** (1 s) | 0.700 ± 0.010 (1 s) | 0.900 ± 0.010 (2 s) |" in text
    assert "1 a class: 2, 10 a class: 2, all (130 a class): 1 (time)" in text


def test_a_part_of_the_matrix_can_be_shown(record):
    record["rows"] = [found for found in record["rows"] if found["way"] != "scratch"]
    record["rows"] = [found for found in record["rows"] if found["examples"] == 10]
    record["seeds"] = {"10": 2}
    assert verdicts(record)[0] == "Higher end: with 10 a class, full reaches 0.705."
    assert "| head | 0.700 ± 0.010 (1 s) |" in table(record)


def test_the_plot_has_a_line_and_a_name_for_each_way(record):
    svg = plot(record)
    for way in ("scratch", "head", "full"):
        assert f"● {way}</text>" in svg
    assert svg.count("<circle") == 9
