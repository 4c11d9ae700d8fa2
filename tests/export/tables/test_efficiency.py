"""Tables and plots of the efficiency and throughput studies, from their records alone."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from export.results import RESULTS
from export.tables import efficiency, throughput

GAP = {"value": -0.01, "ci_low": -0.02, "ci_high": 0.0}


def saved(way: str, seconds: float, **changes: Any) -> dict[str, Any]:
    return {
        "way": way,
        "elapsed_s": seconds,
        "tokens_per_s": 1234.5,
        "peak_mb": 800.0,
        "before_mb": 300.0,
        "value": 0.9,
        "n": 4500,
        "wh": 1.25,
        "wh_estimated": True,
        "against_plain": GAP,
        **changes,
    }


RECORD = {
    "recipe": "intent",
    "seeds": [7, 8],
    "rows": [saved("plain", 200.0), saved("bf16", 100.0, wh=None)],
}
RACE = {
    "recipe": "intent",
    "seeds": [7],
    "epochs": 5.0,
    "rows": [
        {
            "job": "fine-tuning",
            "way": way,
            "elapsed_s": seconds,
            "tokens_per_s": 10.0,
            "peak_mb": 500.0,
            "value": 0.9,
            "n": 100,
            "ours_is_faster": seconds / 10,
            "ours_is_better": GAP,
        }
        for way, seconds in (("transfer", 10.0), ("Trainer, padded to the longest", 25.0))
    ],
}


def test_the_table_tells_time_memory_energy_and_quality() -> None:
    shown = efficiency.table(RECORD)
    assert (
        "| bf16 | 100.0 | 50% | 1,234 | 800 |  | 0.9000 | -0.0100 (-0.0200 to +0.0000) |" in shown
    )
    assert "energy (estimated)" in shown and "seeds 7, 8" in shown


def test_the_race_tells_how_many_times_faster() -> None:
    shown = throughput.table(RACE)
    assert "| 25.0 | 2.5 times |" in shown and "5 epochs" in shown


def test_both_have_a_plot() -> None:
    for name, record in (("efficiency", RECORD), ("throughput", RACE)):
        plot = RESULTS[name].plot
        assert plot
        ElementTree.fromstring(plot(record))
