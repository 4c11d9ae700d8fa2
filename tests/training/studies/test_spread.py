"""Mean and spread over seeds, as cards and the results page show them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.studies.spread import read_spreads, seeds_of, spread, spread_of, why_fewer

ENTRY = {
    "metric": "accuracy",
    "seeds": [7, 8, 9],
    "data_seed": 7,
    "parts": {
        "full": {"mean": 0.95, "std": 0.002, "values": [0.948, 0.95, 0.952]},
        "distilled": {"mean": 0.94, "std": 0.001, "values": [0.939, 0.94, 0.941]},
        "control": {"mean": 0.93, "std": 0.003, "values": [0.927, 0.93, 0.933]},
    },
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "seeds.json"
    made.write_text(json.dumps({"intent": ENTRY}), encoding="utf-8")
    return made


def test_the_spread_is_that_of_a_sample() -> None:
    found = spread([0.1, 0.2, 0.3])
    assert (found["mean"], found["std"]) == (pytest.approx(0.2), pytest.approx(0.1))
    assert found["values"] == [0.1, 0.2, 0.3]
    assert spread([0.5])["std"] == 0.0


def test_a_card_shows_its_own_part_and_a_student_its_control(path: Path) -> None:
    full, distilled = spread_of("intent", "full", path), spread_of("intent", "distilled", path)
    assert full is not None and list(full["parts"]) == ["full"]
    assert distilled is not None and list(distilled["parts"]) == ["distilled", "control"]
    assert distilled["seeds"] == [7, 8, 9]


def test_what_was_not_measured_is_not_shown(path: Path, tmp_path: Path) -> None:
    assert spread_of("emotion", "full", path) is None
    assert spread_of("intent", "full", tmp_path / "nothing.json") is None
    assert read_spreads(tmp_path / "nothing.json") == {}


def test_fewer_seeds_than_three_need_a_reason() -> None:
    assert seeds_of([7, 8, 9]) == {"seeds": [7, 8, 9], "why_fewer_seeds": ""}
    assert why_fewer(seeds_of([7, 8, 9])) == ""
    assert why_fewer(seeds_of([7], "one ships")) == " Fewer than 3 seeds: one ships."
