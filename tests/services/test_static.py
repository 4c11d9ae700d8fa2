"""The files of the pages for people: their headers, and that a browser may keep them."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from services import static
from services.examples import SHOWN
from services.schemas import ROUTES, convert_request

PAGES = sorted(static.files())
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
BODIES = [(task, one["body"]) for task, shown in SHOWN.items() for one in shown]


@pytest.mark.parametrize("path", PAGES)
def test_a_file_comes_with_its_type_and_a_strict_policy(client: httpx.Client, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == static.files()[path].kind
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-cache"
    policy = page.headers["content-security-policy"]
    assert policy.replace(" 'unsafe-inline'", "") == STRICT
    assert "unsafe" not in policy or path == "/docs"


@pytest.mark.parametrize("path", PAGES)
def test_no_file_names_another_host(path: str) -> None:
    text = static.files()[path].content.decode()
    assert set(re.findall(r"https?://([^/\"'\s)]+)", text)) <= {"www.w3.org"}


def test_a_file_that_is_held_already_is_not_sent_again(client: httpx.Client) -> None:
    etag = client.get("/playground/app.js").headers["etag"]
    for held in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get("/playground/app.js", headers={"if-none-match": held})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert again.headers["cache-control"] == "no-cache"
    changed = client.get("/playground/app.js", headers={"if-none-match": '"other"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, etag)


def test_only_get_and_head(client: httpx.Client) -> None:
    head = client.head("/playground/style.css")
    assert head.status_code == 200
    assert head.headers["content-length"] == str(len(client.get("/playground/style.css").content))
    refused = client.post("/playground/style.css")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path", ["/playground", "/playground/", "/playground/index.html", "/playground/../app.py"]
)
def test_nothing_else_is_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_every_part_that_a_script_imports_is_there() -> None:
    for path in PAGES:
        if path.endswith(".js"):
            for name in re.findall(r' from "\./(.+)";', static.files()[path].content.decode()):
                assert f"/playground/{name}" in PAGES


def test_the_page_asks_for_every_part_at_once() -> None:
    page = static.files()["/"].content.decode()
    asked = set(re.findall(r'"(playground/[a-z]+\.js)"', page))
    assert {f"/{path}" for path in asked} | {"/playground/docs.js"} == {
        path for path in PAGES if path.endswith(".js")
    }


@pytest.mark.parametrize(("task", "body"), BODIES)
def test_examples_are_valid_requests(task: str, body: dict[str, Any]) -> None:
    convert_request(body, ROUTES[f"/{task}"])


def test_every_task_has_examples_with_titles_of_their_own() -> None:
    assert {f"/{task}" for task in SHOWN} <= set(ROUTES)
    for shown in SHOWN.values():
        assert len({one["title"] for one in shown}) == len(shown) > 0
