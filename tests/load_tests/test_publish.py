"""What the repository shows of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from load_tests.mixes import MIXES
from load_tests.publish import (
    README,
    RESULTS,
    draw,
    drifted,
    main,
    readme_with,
    without_texts,
)
from load_tests.report.record import BASELINE, FULL, rounded
from load_tests.report.write import read_record, write
from services.errors import UsageError
from tests.load_tests.records import judged, record, row

BEGIN, END = "<!-- tradeoff:begin -->", "<!-- tradeoff:end -->"
README_TEXT = f"# Title\n\n{BEGIN}\nold\n{END}\n\nMore.\n"
EVIDENCE = {"intent": {"data": "d", "rows": 9, "variants": [judged("distilled")]}}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A README and where results go, beside it."""
    readme = tmp_path / "README.md"
    readme.write_text(README_TEXT)
    results = tmp_path / "docs" / "results" / "tradeoff.json"
    results.parent.mkdir(parents=True)
    return readme, results


def test_only_the_part_between_the_marks_is_rewritten() -> None:
    text = readme_with(README_TEXT, record(row()), "docs/a.svg")
    assert text.startswith(f"# Title\n\n{BEGIN}\n| model |")
    assert text.endswith(f"](docs/a.svg)\n{END}\n\nMore.\n")
    assert "old" not in text
    assert readme_with(text, record(row()), "docs/a.svg") == text


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(UsageError, match="tradeoff:begin"):
        readme_with("# Title\n", record(row()), "a.svg")


def test_texts_of_others_are_taken_out_and_the_rest_stays() -> None:
    found = record(row("full"), row("distilled"), evidence=EVIDENCE)
    kept = without_texts(found)["variants"][1]["disagreement"]
    assert kept["worst"] == [
        {
            "row": 7,
            "right": "freeze_card",
            "full": "freeze_card",
            "variant": "send_money",
            "full_score": 0.7,
            "variant_score": 0.9,
        }
    ]
    assert kept["mcnemar"] == found["variants"][1]["disagreement"]["mcnemar"]


def test_answers_of_a_reader_are_texts_of_others() -> None:
    rows = [row("full") | {"task": "qa"}, row("distilled") | {"task": "qa"}]
    found = without_texts(record(*rows, evidence=EVIDENCE))
    (worst,) = found["variants"][1]["disagreement"]["worst"]
    assert worst.keys() == {"row", "full_score", "variant_score"}


def test_a_run_is_taken_over_drawn_and_watched(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme, results = files
    write(record(row("full"), row("distilled"), evidence=EVIDENCE), tmp_path / "reports")
    where = ["--readme", str(readme), "--results", str(results)]
    assert main([str(tmp_path / "reports" / "tradeoff.json"), *where]) == 0
    assert "somebody" not in results.read_text() + results.with_suffix(".html").read_text()
    assert "row 7" in results.with_suffix(".html").read_text()
    assert main(["--check", *where]) == 0
    changed = json.loads(results.read_text())
    changed["variants"][0]["disk_mb"] = 1234.5
    results.write_text(json.dumps(changed))
    capsys.readouterr()
    assert main(["--check", *where]) == 1
    assert "python -m load_tests.publish" in capsys.readouterr().err
    assert readme in draw(readme, results)
    assert "1,234.5" in readme.read_text()
    assert draw(readme, results) == []


def test_a_run_that_is_not_there_is_wrong_usage(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    readme, results = files
    assert main(["nowhere.json", "--readme", str(readme), "--results", str(results)]) == 2
    assert "transfer bench" in capsys.readouterr().err


def test_the_readme_and_the_pictures_show_the_committed_results() -> None:
    assert drifted(README, RESULTS) == [], "run `python -m load_tests.publish`"


def test_the_committed_results_hold_no_text_of_others() -> None:
    found = read_record(RESULTS)
    assert rounded(without_texts(found)) == found


def test_the_committed_results_hold_no_speed_without_its_quality() -> None:
    for one in read_record(RESULTS)["variants"]:
        if one["variant"] != "pytorch-fp32" and one["model"] != "zeroshot":
            assert 0 < one["quality"]["value"] <= 100, one["variant"]


def test_the_committed_report_is_of_a_full_run() -> None:
    """Every mix, enough requests for a p99, quality on test rows, and losses from the same rows."""
    shown = read_record(RESULTS)
    assert "--quick" not in shown["environment"]["command"]
    assert set(shown["models"]) >= {"intent", "emotion", "reader", "highlights"}
    for one in shown["variants"]:
        if one["variant"] == BASELINE:
            continue
        assert set(one["scenarios"]["single_stream"]) == set(MIXES), one["variant"]
        assert one["scenarios"]["single_stream"]["mixed"]["requests"] >= 100
        if one["model"] in shown["models"] and one["variant"] != FULL:
            assert one["loss"]["paired"] is True
            assert "mcnemar" in one["disagreement"] or one["task"] != "classify"
