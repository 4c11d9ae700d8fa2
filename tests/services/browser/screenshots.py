"""The pictures of the playground in docs/images, taken from a running service.

transfer serve                                                  # in another terminal
python -m tests.services.browser.screenshots http://127.0.0.1:3000
"""

from __future__ import annotations

import shutil
import sys

from playwright.sync_api import Page, sync_playwright

from tests.services.browser.conftest import NAMES
from tests.services.server import ROOT

FOLDER = ROOT / "docs" / "images"
WIDTH, HEIGHT = 1280, 800


def main(url: str) -> None:
    """Overwrite playground-light, -dark and -compare."""
    chromium = next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, scheme, task, example in (
            ("light", "light", "qa", "From a manual"),
            ("dark", "dark", "summarize", "Incident report"),
            ("compare", "light", "compare", "An answer"),
        ):
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT},
                color_scheme=scheme,  # type: ignore[arg-type]
                reduced_motion="reduce",
            )
            page.goto(f"{url}/#/{task}")
            show(page, task, example)
            code = page.locator(f".panel.{task} .code-part").bounding_box()
            assert code
            bottom = page.evaluate("scrollY") + code["y"]
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": bottom}
            path = FOLDER / f"playground-{name}.png"
            page.screenshot(path=path, full_page=True, clip=clip)  # type: ignore[arg-type]
        browser.close()


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
