"""Hostile bodies on every route: answered or refused uniformly, never a 5xx, nothing leaked."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from load_tests.soak.wire import LEAK
from services.answers import ErrorAnswer
from services.schemas import ROUTES
from tests.services.hostile import bodies

REFUSALS = {400, 404, 413, 422}


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_hostile_bodies_are_refused_in_the_uniform_way(client: httpx.Client, route: str) -> None:
    seen = 0
    for body in dict.fromkeys(bodies(route)):
        response = client.post(route, content=body, headers={"content-type": "application/json"})
        shown = f"{response.status_code} {response.text[:300]} for {body[:120]!r}"
        assert response.status_code in {200, *REFUSALS}, shown
        if response.status_code != 200:
            fault = msgspec.json.decode(response.content, type=ErrorAnswer).error
            assert fault.code and fault.message and fault.hint and fault.request_id, shown
            assert not LEAK.search(response.text), shown
        seen += 1
    assert seen >= 200
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/vnd.bentoml+pickle",
        "application/octet-stream",
        "application/json; charset=utf-16",
        "application/jsonp",
    ],
)
def test_another_type_is_refused_before_it_is_read(client: httpx.Client, kind: str) -> None:
    for route in ROUTES:
        response = client.post(route, content=b'{"text":"a"}', headers={"content-type": kind})
        assert response.status_code == 415
        assert response.json()["error"]["code"] == "unsupported_media_type"
