"""The page: self-contained, and every figure of the record in it."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from load_tests.report.html import page
from load_tests.report.write import read_record, table_csv, write
from services.errors import UsageError
from tests.load_tests.records import VARIANTS, judged, phase, record, row, tried

EVIDENCE = {"intent": {"data": "rows of a test", "rows": 4500, "variants": [judged("distilled")]}}


class Links(HTMLParser):
    """What a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            str(value)
            for name, value in attrs
            if name in ("src", "href", "data", "action", "poster", "srcset")
        ]


def test_the_page_loads_nothing_from_elsewhere() -> None:
    text = page(record(evidence=EVIDENCE))
    links = Links()
    links.feed(text)
    assert [link for link in links.found if not link.startswith(("#", "data:,"))] == []
    assert "url(" not in text and "@import" not in text
    assert "fetch(" not in text and "http" not in text


def test_every_verdict_and_variant_is_there() -> None:
    found = record()
    text = page(found)
    assert len(found["verdicts"]) == len(VARIANTS) - 1
    for sentence in found["verdicts"]:
        assert sentence in text
    assert text.count("<tr data-rate") == len(VARIANTS)
    assert text.count('class="plot') == 4


def test_texts_of_users_are_escaped() -> None:
    text = page(record(evidence=EVIDENCE))
    assert "somebody else&#x27;s &lt;b&gt;words&lt;/b&gt;" in text
    assert "<b>words" not in text


def test_disagreements_say_who_is_right_and_what_is_lost() -> None:
    text = page(record(evidence=EVIDENCE))
    assert "4,500 labelled rows: rows of a test" in text
    assert "full 12 rows, this variant 3" in text
    assert "p 0.035" in text
    assert "full 1.0 points, this variant 2.0" in text
    assert ">67%<" in text, "of the recall of a class is kept"


def test_without_labels_the_differences_are_shown() -> None:
    other = row("distilled-int8")
    other["differences"] = [{"asked": "a", "full": "b", "variant": "c", "agreement": 0.0}]
    text = page(record(row("full"), other))
    assert "nobody labelled" in text
    assert "<td>a</td><td>b</td><td>c</td>" in text


def test_runs_that_are_not_valid_say_why() -> None:
    why = "the generator used 80% of a core; expected at most 70%"
    bad = row("full", rates=[tried(900.0, 5.0, valid=False, invalid=[why])])
    bad["scenarios"]["single_stream"]["mixed"] = phase(valid=False, invalid=[why])
    text = page(record(bad))
    assert text.count(why) == 2
    assert 'class="invalid"' in text
    assert "Not valid in part" in text


def test_a_busy_machine_is_told() -> None:
    busy = {"cpu_used_before": 0.87, "idle_machine": False}
    assert "used 87% of the machine" in page(record(validity=busy))


def test_an_estimate_is_labelled() -> None:
    measured = {"energy_wh_per_million": 12.0, "energy": {"method": "RAPL", "estimated": False}}
    estimated = {**measured, "energy": {"method": "rated power", "estimated": True}}
    assert "<small>estimated</small>" in page(record(row(**estimated)))
    assert "<small>estimated</small>" not in page(record(row(**measured)))


def test_length_mixes_are_beside_each_other() -> None:
    one = row()
    one["scenarios"]["single_stream"]["short"] = phase(latency_ms=one["latency_ms"])
    assert "<th>mixed</th><th>short</th>" in page(record(one))


def test_the_files_hold_the_same(tmp_path: Path) -> None:
    found = record()
    path = write(found, tmp_path / "reports", raw=[{"model": "intent", "latencies_ms": [1.0]}])
    assert path.name == "tradeoff.html"
    stored = read_record(path.with_suffix(".json"))
    assert page(stored) == path.read_text()
    assert table_csv(stored) == path.with_suffix(".csv").read_text()
    assert (path.parent / "latencies.jsonl.gz").is_file()
    rows = list(csv.DictReader(io.StringIO(table_csv(stored))))
    assert [one["variant"] for one in rows] == list(VARIANTS)
    assert [float(one["p99_ms"]) for one in rows] == [p99 for p99, *_ in VARIANTS.values()]
    assert float(rows[3]["change_points"]) == pytest.approx(-3.0)
    assert float(rows[3]["change_ci_low"]) < -3.0 < float(rows[3]["change_ci_high"])


def test_numbers_are_kept_to_six_digits(tmp_path: Path) -> None:
    write(record(row(cold_start_s=1.23456789)), tmp_path)
    text = (tmp_path / "tradeoff.json").read_text()
    assert "1.23457" in text
    assert not re.search(r"\d\.\d{12}", text)
    assert json.loads(text)["variants"][0]["cold_start_s"] == 1.23457


def test_a_missing_record_says_which_command_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="transfer bench"):
        read_record(tmp_path / "none.json")
