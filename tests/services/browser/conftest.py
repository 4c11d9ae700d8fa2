"""One Chromium for these tests, and pages that may not complain or ask another host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.chromium import launched
from tests.services.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WAIT_MS = 10_000


# Until the end of this package only: while it runs, no other test could use asyncio.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with launched() as chromium:
        yield chromium


@pytest.fixture
def noise() -> list[str]:
    """What the page complained of; a test that provokes faults looks at it and clears it."""
    return []


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, noise: list[str]) -> Iterator[Open]:
    """open_page(address, **options of the context): a page in a fresh profile."""
    contexts = []

    def open_page(address: str, **options: object) -> Page:
        context = browser.new_context(
            permissions=["clipboard-read", "clipboard-write"],
            **options,  # type: ignore[arg-type]
        )
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on(
            "console",
            lambda said: noise.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: noise.append(str(error)))
        own = "{0.scheme}://{0.netloc}/".format(urlsplit(address))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((own, "data:"))
                else noise.append(f"asked {request.url}")
            ),
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert noise == []


@pytest.fixture
def page(open_page: Open, server: Server) -> Page:
    """The playground as it opens."""
    return open_page(f"{server.url}/")
