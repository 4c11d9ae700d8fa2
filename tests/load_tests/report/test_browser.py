"""The page in a real browser: pictures drawn, the table sorts, costs follow the price."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from load_tests.report.pareto import pareto
from load_tests.report.write import write
from tests.chromium import launched
from tests.load_tests.records import VARIANTS, judged, record, row

if TYPE_CHECKING:
    from playwright.sync_api import Page

PUBLISHED = Path(__file__).parents[3] / "docs" / "results" / "tradeoff.html"
EVIDENCE = {"intent": {"data": "made up", "rows": 9, "variants": [judged("distilled")]}}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [row(variant) for variant in VARIANTS] + [row("full", "reader")]
    return write(record(*rows, evidence=EVIDENCE), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def open_file() -> Iterator[Callable[[Path], Page]]:
    """A page of a file, with what it complained of and what it asked for."""

    def open_file(path: Path) -> Page:
        opened = browser.new_page()
        opened.faults = []
        opened.asked = []
        opened.on("pageerror", lambda error: opened.faults.append(str(error)))
        opened.on("console", lambda message: opened.faults.append(message.text))
        opened.on("request", lambda request: opened.asked.append(request.url))
        opened.goto(path.as_uri())
        return opened

    with launched() as browser:
        yield open_file


@pytest.fixture(scope="module")
def page(open_file: Callable[[Path], Page], path: Path) -> Page:
    """The report of a record that is made up."""
    return open_file(path)


@pytest.fixture(scope="module")
def committed(open_file: Callable[[Path], Page]) -> Page:
    """The report that is published."""
    return open_file(PUBLISHED)


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


def assert_pareto_set_is_that_of_the_json(page: Page, path: Path, model: str) -> None:
    stored: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    rows = [one for one in stored["variants"] if one["model"] == model]
    best = pareto(rows)
    for front, marked in ((True, '[data-pareto="true"]'), (False, ".dominated")):
        expected = {row["variant"] for row, one in zip(rows, best, strict=True) if one is front}
        drawn = page.locator(f"#{model} svg.pareto {marked}").all()
        assert {one.get_attribute("data-variant") for one in drawn} == expected
    assert True in best


def test_the_pareto_set_is_the_one_that_the_json_gives(page: Page, path: Path) -> None:
    assert_pareto_set_is_that_of_the_json(page, path, "intent")


def assert_clicks_sort(page: Page, column: str) -> None:
    place = page.locator("#variants tbody tr").first.locator("td")
    keys = [place.nth(i).get_attribute("data-column") for i in range(place.count())]
    head = page.locator("#variants thead th").nth(keys.index(column))
    head.locator("button").click()
    assert len(values(page, column)) > 1
    assert values(page, column) == sorted(values(page, column))
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert values(page, column) == sorted(values(page, column), reverse=True)
    assert head.get_attribute("aria-sort") == "descending"


COLUMNS = pytest.mark.parametrize("column", ["p99_ms", "quality", "peak_pss_mb"])


@COLUMNS
def test_a_click_sorts_up_and_a_second_one_down(page: Page, column: str) -> None:
    assert_clicks_sort(page, column)


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


# --- the report that is published


def measured(kind: str) -> list[str]:
    """The models of which it has such a picture."""
    rows = json.loads(PUBLISHED.with_suffix(".json").read_text())["variants"]
    needed = {"pareto": "pareto", "rates": "rates", "memory": "memory", "stages": "stages_ms"}[kind]
    return list(dict.fromkeys(row["model"] for row in rows if row.get(needed)))


def test_the_published_report_opens_without_a_fault_or_a_request(committed: Page) -> None:
    assert committed.faults == []
    assert set(committed.asked) <= {PUBLISHED.as_uri(), "data:,"}


@pytest.mark.parametrize("kind", ["pareto", "rates", "memory", "stages"])
def test_every_picture_of_the_published_report_is_drawn(committed: Page, kind: str) -> None:
    models = measured(kind)
    assert {"intent", "emotion", "reader", "highlights"} <= set(models)
    for model in models:
        picture = committed.locator(f"#{model} svg.{kind}")
        box = picture.bounding_box()
        assert box["width"] > 200 and box["height"] > 60, model
        assert picture.locator("path, circle, rect, line").count() > 4, model


@pytest.mark.parametrize("model", measured("pareto"))
def test_the_published_pareto_set_is_the_one_that_the_json_gives(
    committed: Page, model: str
) -> None:
    assert_pareto_set_is_that_of_the_json(committed, PUBLISHED, model)


@COLUMNS
def test_the_published_table_sorts(committed: Page, column: str) -> None:
    assert_clicks_sort(committed, column)
