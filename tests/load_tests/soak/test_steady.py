"""Mixed load: a server that leaks is found out, and the requests are of every kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from load_tests.server import serving
from load_tests.soak import steady
from load_tests.soak.mixed import mixed_load, requests
from load_tests.soak.plan import SHORT


@pytest.mark.alone
def test_a_server_that_leaks_is_found_out() -> None:
    control = steady._leaking(replace(SHORT, control_s=2.0, rate=300.0))
    words = " ".join(control.drift.faults())
    assert "PSS" in words and "file descriptors" in words and "threads" in words


def test_every_route_variant_and_error_is_asked(published: Mapping[str, str]) -> None:
    with serving(["intent", "reader/full"], env=published) as server:
        asked = b"".join(requests(server.url, seed=1))
        seen = mixed_load(server.url, 2.0, rate=40.0, seed=1)
    for route in (b"/classify", b"/qa", b"/summarize", b"/compare", b"/hf/", b"GET /models"):
        assert route in asked
    for variant in ("full", "distilled-int8"):
        assert json.dumps({"variant": variant})[1:-1].encode() in asked
    assert seen.answered > 0 and seen.rude > 0
    assert seen.refused["status 400"] > 0 and seen.refused["status 422"] > 0
    assert seen.unexpected == {}
