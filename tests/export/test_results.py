"""Tables of the results page are made from the files beside it, and do not drift from them."""

from __future__ import annotations

import json

import pytest

from export.results import DOCUMENT, RESULTS, fresh, read_result, write_result, write_tables
from services.errors import UsageError
from tests.export.test_ways import made

PAGE = "\n".join(f"<!-- {name}:begin -->\n<!-- {name}:end -->" for name in RESULTS)
WAYS = made(("whole", 90_000_000, 0.0), ("svd-64", 3_000_000, 0.004))


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "results.md"
    path.write_text(PAGE)
    return path


def test_a_record_becomes_a_file_a_plot_and_a_table(page, tmp_path):
    path = write_result("ways", WAYS, tmp_path / "results", page)
    assert json.loads(path.read_text()) == WAYS
    assert path.with_suffix(".svg").read_text().startswith("<svg")
    text = page.read_text()
    assert "| svd-64 | 3.00 |" in text
    assert "![ways](results/ways-to-ship.svg)" in text


def test_all_tables_can_be_written_again_from_the_files(page, tmp_path):
    folder = tmp_path / "results"
    write_result("ways", WAYS, folder, page)
    entry = {
        "metric": "accuracy",
        "seeds": [7, 8],
        "parts": {"full": {"mean": 0.95, "std": 0.001, "values": [0.949, 0.951]}},
    }
    write_result("seeds", {"intent": entry}, folder, page)
    written = page.read_text()
    assert "| intent | full | accuracy | 0.9500 | 0.0010 | 7: 0.9490, 8: 0.9510 |" in written
    page.write_text(PAGE)
    (folder / "ways-to-ship.svg").unlink()
    write_tables(folder, page)
    assert page.read_text() == written
    assert (folder / "ways-to-ship.svg").is_file()
    assert read_result("published", folder) is None


def test_a_damaged_record_is_told(page, tmp_path):
    (tmp_path / "seeds.json").write_text("{")
    with pytest.raises(UsageError, match=r"seeds\.json is not a record"):
        fresh(tmp_path, page)


def test_the_page_that_ships_is_what_its_files_make():
    assert fresh() == DOCUMENT.read_text(encoding="utf-8")
