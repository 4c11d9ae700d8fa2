"""The README's table."""

from __future__ import annotations

from load_tests.table import COLUMNS, table
from tests.load_tests.records import phase, record, row


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_holds_every_measured_number() -> None:
    lines = table(record(row("distilled-int8"))).splitlines()
    assert cells(lines[0]) == list(COLUMNS)
    assert cells(lines[2]) == [
        "intent",
        "distilled-int8",
        "accuracy 0.920 [0.910, 0.930] (4,500)",
        "0.900",
        "1.0",
        "2.0",
        "400",
        "600",
        "200",
        "17.9",
        "17.3 M",
    ]


def test_what_was_not_measured_is_a_dash_not_a_zero() -> None:
    line = table(record({"model": "intent", "variant": "full"})).splitlines()[2]
    assert cells(line) == ["intent", "full", *["-"] * (len(COLUMNS) - 2)]


def test_the_notes_say_how_it_was_measured() -> None:
    text = table(record(row()))
    assert "2 cores (Some CPU" in text
    assert "`transfer bench`" in text
    assert "p99 is within 50 ms" in text
    assert "Not valid" not in text


def test_an_invalid_run_is_marked() -> None:
    bad = row(scenarios={"single_stream": {"mixed": phase(valid=False)}})
    assert "no rate was confirmed: intent/full." in table(record(bad))


def test_a_busy_machine_is_told() -> None:
    busy = {"cpu_used_before": 0.87, "idle_machine": False}
    assert "used 87% of the machine" in table(record(row(), validity=busy))


def test_the_baseline_is_explained() -> None:
    baseline = row() | {"variant": "pytorch-fp32", "transport": "in process"}
    assert "called in process" in table(record(row(), baseline))


def test_what_is_served_is_compared_with_torch() -> None:
    baseline = row(throughput_rps=60.0) | {"variant": "pytorch-fp32"}
    text = table(record(row("distilled-int8"), baseline))
    assert "distilled-int8 600/s, PyTorch fp32 60/s: 10.0 times" in text
