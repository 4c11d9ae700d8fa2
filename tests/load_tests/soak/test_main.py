"""The command: its options, its record, its exit code, and the table in the documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from load_tests.report.write import read_record
from load_tests.soak import __main__ as command
from load_tests.soak import report
from load_tests.soak.plan import SHORT, THOROUGH, Plan, Row, Say, figure
from services.errors import UsageError


def options(*arguments: str) -> Any:
    return command.parser().parse_args(arguments)


def test_options_change_the_plan() -> None:
    assert command.plan_of(options()) == THOROUGH
    assert command.plan_of(options("--short")) == SHORT
    plan = command.plan_of(options("--minutes", "2", "--cases", "9", "--variants", "a,b"))
    assert (plan.minutes, plan.cases, plan.variants) == (2.0, 9, ("a", "b"))


def test_the_promised_sizes_are_the_default() -> None:
    assert (THOROUGH.seconds, THOROUGH.times, THOROUGH.minutes) == (60.0, 10.0, 10.0)
    assert (THOROUGH.aborts, THOROUGH.slow, THOROUGH.cases) == (1000, 200, 5000)


@pytest.mark.parametrize("wrong", [("--minutes", "0"), ("--seconds", "-1")])
def test_wrong_numbers_are_named(wrong: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=f"{wrong[0]} is "):
        command.plan_of(options(*wrong))


def test_unknown_parts_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "body,nothing"]) == 2
    assert "--only names nothing; expected body, " in capsys.readouterr().err


def part(value: float) -> Any:
    def measure(plan: Plan, say: Say) -> Row:
        return {"figures": [figure("faults", value, "of 9", target="0", reached=value == 0)]}

    return measure


def test_parts_are_recorded_and_a_missed_figure_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PARTS", {"one": part(0), "two": part(3)})
    out = tmp_path / "soak.json"
    assert command.main(["--out", str(out)]) == 1
    assert command.main(["--only", "one", "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert list(record["parts"]) == ["one", "two"]
    assert record["parts"]["one"]["environment"]["command"].endswith("--out soak.json")
    assert report.missed(record) == ["two: faults is 3 of 9"]
    captured = capsys.readouterr()
    assert "MISSED: faults: 3" in captured.err
    assert "| two | faults | 3 of 9 | 0 | **no** |" in captured.out


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    results, document = tmp_path / "soak.json", tmp_path / "doc.md"
    row = figure("PSS rise", 1.5, "MB", target="< 20 MB", reached=True)
    report.write({"parts": {"body": {"environment": {}, "figures": [row]}}}, results)
    document.write_text("before\n<!-- soak:begin -->\n<!-- soak:end -->\nafter\n")
    assert report.draw(results, document, check=True)
    assert report.draw(results, document)
    assert not report.draw(results, document, check=True)
    assert "| body | PSS rise | 1.5 MB | < 20 MB | yes |" in document.read_text()
    assert document.read_text().endswith("\nafter\n")


def test_the_published_table_is_that_of_the_published_record() -> None:
    assert read_record(report.RESULTS)["parts"]
    assert not report.draw(check=True), "run `python -m load_tests.soak.report`"
