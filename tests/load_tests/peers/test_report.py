"""The record and its table; the committed table is the one of the committed record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from load_tests.peers import report
from load_tests.peers.figures import at_least, at_most, figure
from load_tests.report.write import read_record


def part(*rows: dict[str, Any]) -> dict[str, Any]:
    environment = {
        "cores": 2,
        "cpu": "a CPU",
        "measured": "2026-11-21T00:00:00+00:00",
        "commit": "abc",
        "command": "python -m load_tests.peers",
        "plan": {"rounds": 5, "seconds": 3},
        "versions": {"fastapi": "1.0"},
    }
    return {"environment": environment, "figures": list(rows)}


@pytest.fixture
def record() -> dict[str, Any]:
    share = figure("share", [0.6, 0.61, 0.62], "x", at_least(0.7, "of the ceiling"))
    rate = figure("ceiling", [2000.0, 2400.123456789], "texts/s", how="2 x 1 threads, batch 8")
    memory = figure("memory", [290.0], "MB", at_most(350.0, "MB", stretch=300.0))
    return {"parts": {"classify": part(rate, share), "memory": part(memory)}}


def test_figures_with_a_target_come_first(record: dict[str, Any]) -> None:
    lines = report.table(record).splitlines()
    assert lines[2] == ("| share | 0.61 x | >= 0.7 of the ceiling | **no** | 0.6 to 0.62, n=3 |  |")
    assert lines[3].startswith("| memory | 290 MB | <= 350 MB (stretch 300) | yes, stretch too |")
    assert "| ceiling | 2,200 texts/s | 2,000 to 2,400, n=2 | 2 x 1 threads, batch 8 |" in lines


def test_the_table_says_how_it_was_measured(record: dict[str, Any]) -> None:
    assert (
        "- `classify`: 2026-11-21T00:00:00+00:00, 2 cores (a CPU; ), 5 rounds of 3 s, commit abc,"
        " `python -m load_tests.peers`. fastapi 1.0." in report.table(record)
    )


def test_a_busy_machine_is_told(record: dict[str, Any]) -> None:
    record["parts"]["memory"]["environment"]["validity"] = {"idle_machine": False}
    assert report.table(record).count("OTHER PROGRAMS USED THE MACHINE") == 1


def test_missed_targets_are_named(record: dict[str, Any]) -> None:
    assert report.missed(record) == ["share"]


def test_a_part_that_is_measured_again_replaces_its_older_self(
    record: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "results" / "peers.json"
    report.write(record, path)
    again = part(figure("memory", [360.0], "MB", at_most(350.0, "MB")))
    merged = report.merged(path, {"memory": again})
    assert list(merged["parts"]) == ["classify", "memory"]
    assert report.missed(merged) == ["share", "memory"]


def test_the_record_is_rounded_and_its_table_lies_beside_it(
    record: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "peers.json"
    report.write(record, path)
    stored = json.loads(path.read_text())
    assert stored["parts"]["classify"]["figures"][0]["spread"] == [2000.0, 2400.12]
    path.with_suffix(".md").write_text("an old table")
    assert report.main([str(path)]) == 0
    assert path.with_suffix(".md").read_text() == report.table(stored)


def test_a_record_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    assert report.main([str(tmp_path / "none.json")]) == 2


def test_the_committed_table_is_made_of_the_committed_record() -> None:
    if not report.RESULTS.is_file():
        pytest.skip("no run is committed")
    table = report.RESULTS.with_suffix(".md").read_text(encoding="utf-8")
    assert table == report.table(read_record(report.RESULTS))
