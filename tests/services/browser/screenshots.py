"""The pictures in docs/images: of the playground of a running service, and of the published report.

transfer serve                                                  # in another terminal
python -m tests.services.browser.screenshots http://127.0.0.1:3000
"""

from __future__ import annotations

import sys

from playwright.sync_api import Browser, Page

from tests.chromium import launched
from tests.services.server import ROOT

FOLDER = ROOT / "docs" / "images"
REPORT = ROOT / "docs" / "results" / "tradeoff.html"
PLAYGROUND = 1280, 800
TOP = 1440, 1000  # of the report: no column of its table is cut


def main(url: str) -> None:
    """Overwrite playground-light, -dark and -compare, and report."""
    with launched() as browser:
        for name, scheme, task, example in (
            ("light", "light", "qa", "From a manual"),
            ("dark", "dark", "summarize", "Incident report"),
            ("compare", "light", "compare", "An answer"),
        ):
            page = new_page(browser, PLAYGROUND, scheme)
            playground(page, url, task, example, f"playground-{name}")
        report(new_page(browser, TOP))


def new_page(browser: Browser, size: tuple[int, int], scheme: str = "light") -> Page:
    return browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )


def playground(page: Page, url: str, task: str, example: str, name: str) -> None:
    """One tab from its top to the code."""
    page.goto(f"{url}/#/{task}")
    show(page, task, example)
    code = page.locator(f".panel.{task} .code-part").bounding_box()
    assert code
    take(page, name, page.evaluate("scrollY") + code["y"])


def report(page: Page) -> None:
    """The top of the published report."""
    page.goto(REPORT.as_uri())
    take(page, "report", TOP[1])


def take(page: Page, name: str, height: float) -> None:
    """The page from its top, so high."""
    assert page.viewport_size
    clip = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": height}
    page.screenshot(path=FOLDER / f"{name}.png", full_page=True, clip=clip)  # type: ignore[arg-type]


def show(page: Page, task: str, example: str) -> None:
    """One example, its answer, and of a comparison the histogram."""
    part = page.locator(f".panel.{task}")
    part.locator(".told").wait_for()
    for _ in range(3):  # warm
        part.get_by_role("button", name=example, exact=True).click()
        part.locator(".result:not([aria-busy])").wait_for()
        page.wait_for_timeout(300)
    if task == "compare":
        part.get_by_role("button", name="Run 50 times").click()
        part.get_by_text("50 of 50 runs").wait_for()
    page.mouse.move(1, 1)
    page.wait_for_timeout(300)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
