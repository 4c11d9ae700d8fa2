"""The page in a real browser: pictures drawn, the table sorts, costs follow the price."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from load_tests.report.pareto import pareto
from load_tests.report.write import write
from tests.load_tests.records import VARIANTS, judged, record, row

if TYPE_CHECKING:
    from playwright.sync_api import Page

EVIDENCE = {"intent": {"data": "made up", "rows": 9, "variants": [judged("distilled")]}}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [row(variant) for variant in VARIANTS] + [row("full", "reader")]
    return write(record(*rows, evidence=EVIDENCE), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(path: Path) -> Iterator[Page]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.faults = []
        opened.asked = []
        opened.on("pageerror", lambda error: opened.faults.append(str(error)))
        opened.on("console", lambda message: opened.faults.append(message.text))
        opened.on("request", lambda request: opened.asked.append(request.url))
        opened.goto(path.as_uri())
        yield opened
        browser.close()


def shown(page: Page, column: str) -> list[str]:
    return page.locator(f'#variants tbody [data-column="{column}"]').all_inner_texts()


def values(page: Page, column: str) -> list[float]:
    cells = page.locator(f'#variants tbody [data-column="{column}"][data-value]')
    return [float(cells.nth(i).get_attribute("data-value")) for i in range(cells.count())]


def test_it_opens_from_a_file_without_a_fault_or_a_request(page: Page, path: Path) -> None:
    assert page.faults == []
    assert page.asked in ([path.as_uri()], [path.as_uri(), "data:,"])


def test_every_picture_is_drawn(page: Page) -> None:
    for kind in ("pareto", "rates", "memory", "stages"):
        pictures = page.locator(f"svg.{kind}")
        assert pictures.count() == 2, "one a model"
        for i in range(2):
            box = pictures.nth(i).bounding_box()
            assert box["width"] > 200 and box["height"] > 60


def test_the_pareto_set_is_the_one_that_the_json_gives(page: Page, path: Path) -> None:
    stored: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    rows = [one for one in stored["variants"] if one["model"] == "intent"]
    expected = {one["variant"] for one, best in zip(rows, pareto(rows), strict=True) if best}
    drawn = page.locator('#intent svg.pareto [data-pareto="true"]')
    assert {drawn.nth(i).get_attribute("data-variant") for i in range(drawn.count())} == expected
    hollow = page.locator("#intent svg.pareto .dominated")
    assert {hollow.nth(i).get_attribute("data-variant") for i in range(hollow.count())} == (
        {one["variant"] for one in rows} - expected
    )


@pytest.mark.parametrize("column", ["p99_ms", "quality", "peak_pss_mb"])
def test_a_click_sorts_up_and_a_second_one_down(page: Page, column: str) -> None:
    place = page.locator("#variants tbody tr").first.locator("td")
    keys = [place.nth(i).get_attribute("data-column") for i in range(place.count())]
    head = page.locator("#variants thead th").nth(keys.index(column))
    head.locator("button").click()
    assert values(page, column) == sorted(values(page, column))
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert values(page, column) == sorted(values(page, column), reverse=True)
    assert head.get_attribute("aria-sort") == "descending"


def test_what_was_not_measured_stays_last(page: Page) -> None:
    place = page.locator("#variants tbody tr").first.locator("td")
    keys = [place.nth(i).get_attribute("data-column") for i in range(place.count())]
    button = page.locator("#variants thead th").nth(keys.index("change_points")).locator("button")
    for _ in range(2):
        button.click()
        assert shown(page, "change_points")[-1].strip() == "-"


def test_the_price_recomputes_the_costs(page: Page) -> None:
    before = values(page, "cost_per_million")
    page.locator("#price").fill("0.72")
    assert values(page, "cost_per_million") == pytest.approx([2 * cost for cost in before])


def test_disagreements_open(page: Page) -> None:
    details = page.locator("#intent details").first
    assert not details.locator("p").first.is_visible()
    details.locator("summary").click()
    assert "McNemar" in details.inner_text()
