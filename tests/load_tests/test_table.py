from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from load_tests.table import (
    BEGIN,
    END,
    HEADER,
    README,
    RESULTS,
    drifted,
    main,
    read_results,
    readme_with,
    table,
    update_readme,
)
from services.errors import UsageError

ROW = {
    "task": "classify",
    "model": "intent",
    "variant": "distilled-int8",
    "transport": "http",
    "quality": {"metric": "accuracy", "value": 0.91234, "ci_low": 0.9, "ci_high": 0.92, "n": 4500},
    "agreement_with_full": 0.95,
    "parameters": 17_300_000,
    "disk_mb": 17.94,
    "peak_pss_mb": 212.4,
    "latency_ms": {"p50": 1.94, "p95": 2.55, "p99": 3.1},
    "throughput_rps": 1234.5,
    "load": {"single_stream": {"valid": True}, "saturated": {"valid": True}},
}
PLAN = {"single_s": 2.0, "saturated_s": 3.0, "users": 8}
ENVIRONMENT = {"cores": 2, "cpu": "Some CPU", "command": "transfer bench --quick", "plan": PLAN}
README_TEXT = f"# Title\n\n{BEGIN}\nold\n{END}\n\nMore.\n"


def results(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"environment": ENVIRONMENT, "variants": list(rows), **more}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_holds_every_measured_number() -> None:
    lines = table(results(ROW)).splitlines()
    assert cells(lines[0]) == list(HEADER)
    assert cells(lines[2]) == [
        "intent",
        "distilled-int8",
        "accuracy 0.912 [0.900, 0.920] (4,500)",
        "0.950",
        "1.9",
        "2.5",
        "1,234",
        "212",
        "17.9",
        "17.3 M",
    ]


def test_what_was_not_measured_is_a_dash_not_a_zero() -> None:
    line = table(results({"model": "intent", "variant": "full"})).splitlines()[2]
    assert cells(line) == ["intent", "full", *["-"] * (len(HEADER) - 2)]


def test_the_notes_say_how_it_was_measured() -> None:
    text = table(results(ROW))
    assert "2 cores (Some CPU" in text
    assert "`transfer bench --quick`" in text
    assert "8 clients for 3 s" in text
    assert "lower bound" not in text


def test_an_invalid_run_is_marked() -> None:
    load = {"single_stream": {"valid": True}, "saturated": {"valid": False}}
    assert "failed): intent/distilled-int8." in table(results({**ROW, "load": load}))


def test_a_busy_machine_is_told() -> None:
    busy = {"cpu_used_before": 0.87, "idle_machine": False}
    record = {"environment": {**ENVIRONMENT, "validity": busy}, "variants": [ROW]}
    assert "used 87% of the machine" in table(record)


def test_the_baseline_and_the_ratio_are_explained() -> None:
    baseline = {**ROW, "variant": "pytorch-fp32", "transport": "in process"}
    compared = {"model": "intent", "variant": "distilled-int8", "ratio": 9.44}
    rates = {"throughput_rps": 1800.0, "baseline_rps": 190.7}
    text = table(results(baseline, in_process=[{**compared, **rates}]))
    assert "called in process" in text
    assert "1,800/s, PyTorch fp32 191/s: 9.4 times" in text


def test_only_the_part_between_the_marks_is_rewritten() -> None:
    text = readme_with(README_TEXT, results(ROW))
    assert text.startswith(f"# Title\n\n{BEGIN}\n| model |")
    assert text.endswith(f"{END}\n\nMore.\n")
    assert "old" not in text
    assert readme_with(text, results(ROW)) == text


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(UsageError, match="tradeoff:begin"):
        readme_with("# Title\n", results(ROW))


def test_the_command_finds_drift_and_cures_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme, record = tmp_path / "README.md", tmp_path / "tradeoff.json"
    readme.write_text(README_TEXT)
    record.write_text(json.dumps(results(ROW)))
    files = ["--readme", str(readme), "--results", str(record)]
    assert main(["--check", *files]) == 1
    assert "python -m load_tests.table" in capsys.readouterr().err
    assert main(files) == 0
    assert main(["--check", *files]) == 0
    assert not update_readme(readme, record)


def test_a_missing_record_says_which_command_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="transfer bench"):
        read_results(tmp_path / "none.json")


@pytest.mark.skipif(not RESULTS.is_file(), reason="no results are committed yet")
def test_the_readme_shows_the_committed_results() -> None:
    assert not drifted(README, RESULTS), "run `python -m load_tests.table`"


@pytest.mark.skipif(not RESULTS.is_file(), reason="no results are committed yet")
def test_the_committed_results_hold_no_speed_without_its_quality() -> None:
    for row in read_results(RESULTS)["variants"]:
        if row["variant"] != "pytorch-fp32" and row["model"] != "zeroshot":
            assert 0 < row["quality"]["value"] <= 100, row["variant"]
