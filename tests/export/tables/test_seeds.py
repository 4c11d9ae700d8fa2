"""Scores by seed: a line and a dot for each model and part."""

from __future__ import annotations

from export.tables.seeds import plot, table

RECORD = {
    "intent": {
        "metric": "accuracy",
        "seeds": [7, 8, 9],
        "why_fewer_seeds": "",
        "parts": {
            "full": {"mean": 0.95, "std": 0.002, "values": [0.948, 0.95, 0.952]},
            "control": {"mean": 0.93, "std": 0.003, "values": [0.927, 0.93, 0.933]},
        },
    },
    "reader": {
        "metric": "f1",
        "seeds": [7],
        "why_fewer_seeds": "it takes hours",
        "parts": {"full": {"mean": 0.81, "std": 0.0, "values": [0.81]}},
    },
}


def test_the_table_has_a_line_for_each_part():
    lines = table(RECORD).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:5]] == ["full", "control", "full"]
    assert lines[3].endswith("| 0.9300 | 0.0030 | 7: 0.9270, 8: 0.9300, 9: 0.9330 |")
    assert lines[-1].endswith("reader: Fewer than 3 seeds: it takes hours.")


def test_the_plot_shows_each_part():
    svg = plot(RECORD)
    for name in ("intent, full", "intent, control", "reader, full"):
        assert f">{name}</text>" in svg
