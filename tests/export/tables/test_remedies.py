"""What remedies for imbalance are worth, in a table, a sentence and a plot."""

from __future__ import annotations

import pytest

from export.tables.remedies import plot, table, verdict


def row(way, mean, rare, others, std=0.001):
    return {
        "way": way,
        "mean": mean,
        "std": std,
        "macro_f1": mean,
        "recall_of_rare": rare,
        "recall_of_others": others,
    }


@pytest.fixture
def record():
    return {
        "data": "CLINC",
        "metric": "accuracy",
        "n": 4500,
        "labels": 150,
        "rare": 50,
        "rows_of_rare": [25, 50],
        "rows_of_others": [50, 75, 100],
        "seeds": [7, 8, 9],
        "strategy": "full",
        "rows": [row("none", 0.90, 0.80, 0.95), row("balanced sampling", 0.91, 0.84, 0.945)],
    }


def test_the_verdict_weighs_what_rare_labels_gain(record):
    assert verdict(record) == (
        "Balanced sampling helps the rare labels most: +4.0 points for them, -0.5 for the others; "
        "accuracy +1.0, more than what seeds differ by."
    )
    record["rows"][1]["std"] = 0.02
    assert verdict(record).endswith("accuracy +1.0, which is within what seeds differ by.")
    record["rows"][1]["recall_of_rare"] = 0.7
    assert verdict(record) == "No remedy helps the rare labels here."


def test_the_table_tells_which_labels_are_rare(record):
    text = table(record)
    assert "| none | 0.9000 | 0.0010 | 0.9000 | 0.8000 | 0.9500 |" in text
    assert "the 50 of 150 labels with 25 to 50 training rows; the others have 50 to 100." in text


def test_the_plot_names_every_remedy(record):
    svg = plot(record)
    assert ">none</text>" in svg and ">balanced sampling</text>" in svg
    assert svg.count("<circle") == 2 + 2 * 2
