"""A server with keys, quotas, a port for its metrics, other origins, and a log: over sockets."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.conftest import Store
from tests.services.server import Server, environment, free_port, serving

SHOP, BANK, NEXT = "shop-0123456789abcdef", "bank-0123456789abcdef", "next-0123456789abcdef"
PAGE = "https://page.example"
PER_MINUTE = 3000


@dataclass
class Guarded:
    server: Server
    keys: Path
    metrics: str

    def ask(self, method: str, path: str, key: str = SHOP, **request: Any) -> httpx.Response:
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **request.pop("also", {})}
        return httpx.request(method, self.server.url + path, headers=headers, timeout=20, **request)

    def classify(self, key: str = SHOP, text: str = "send money") -> httpx.Response:
        return self.ask("POST", "/classify", key, json={"text": text})

    def logged(self, condition: Any) -> dict[str, Any]:
        """The first line of the log that fits, waited for."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            for line in self.server.output().splitlines():
                if line.startswith("{") and condition(entry := json.loads(line)):
                    return dict(entry)
            time.sleep(0.05)
        raise AssertionError(self.server.output())


@pytest.fixture(scope="module")
def guarded(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    keys, port = folder / "keys", free_port()
    keys.write_text(f"shop:{SHOP}\n")
    env = environment(
        store.home,
        store.lock,
        TRANSFER_API_KEYS=f"bank:{BANK}",
        TRANSFER_API_KEYS_FILE=str(keys),
        TRANSFER_TOKENS_PER_MINUTE=str(PER_MINUTE),
        TRANSFER_METRICS=str(port),
        TRANSFER_CORS_ORIGINS=PAGE,
    )
    with serving(folder / "log.txt", env) as server:
        server.wait_until_ready()
        yield Guarded(server, keys, f"http://127.0.0.1:{port}/metrics")


@pytest.fixture
def started(store: Store, tmp_path: Path) -> Iterator[Callable[..., Guarded]]:
    """started(TRANSFER_...="..."): a server of its own, with a key."""
    with contextlib.ExitStack() as servers:

        def start(**settings: str) -> Guarded:
            settings |= {"TRANSFER_API_KEYS": f"shop:{SHOP}", "TRANSFER_VARIANTS": "intent/full"}
            env = environment(store.home, store.lock, **settings)
            server = servers.enter_context(serving(tmp_path / "log.txt", env))
            server.wait_until_ready()
            return Guarded(server, tmp_path / "keys", f"{server.url}/metrics")

        yield start


def test_only_who_has_a_key_is_answered(guarded: Guarded) -> None:
    assert guarded.classify(SHOP).status_code == guarded.classify(BANK).status_code == 200
    for key in ("", "wrong-0123456789abcdef", SHOP[:-1]):
        refused = guarded.classify(key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"
    assert guarded.ask("GET", "/models", "").status_code == 401
    assert guarded.ask("GET", "/models").status_code == 200


def test_a_large_body_without_a_key_is_refused_and_the_connection_goes_on(guarded: Guarded) -> None:
    with httpx.Client(base_url=guarded.server.url) as client:
        refused = client.post("/classify", json={"text": "a" * 3_000_000})
        assert refused.status_code == 401
        assert client.get("/livez").status_code == 200


def test_probes_and_pages_are_open(guarded: Guarded) -> None:
    for path in ("/livez", "/readyz", "/", "/docs", "/docs.json"):
        assert guarded.ask("GET", path, "").status_code == 200


def test_a_new_key_is_valid_without_a_restart(guarded: Guarded) -> None:
    assert guarded.classify(NEXT).status_code == 401
    guarded.keys.write_text(f"shop:{SHOP}\nnext:{NEXT}\n")
    until = time.monotonic() + 10
    while guarded.classify(NEXT).status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert guarded.classify(SHOP).status_code == 200


def test_a_key_that_has_used_up_its_tokens_waits_and_the_others_do_not(guarded: Guarded) -> None:
    statuses = [guarded.classify(BANK, "send money " * 200).status_code for _ in range(12)]
    assert set(statuses) == {200, 429}
    refused = guarded.classify(BANK)
    assert refused.json()["error"]["code"] == "quota_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    assert guarded.classify(SHOP).status_code == 200


def test_the_metrics_have_a_port_of_their_own(guarded: Guarded) -> None:
    assert guarded.ask("GET", "/metrics").status_code == 404
    text = httpx.get(guarded.metrics).text
    assert "transfer_requests_total" in text and "transfer_queue_depth" in text
    assert httpx.get(guarded.metrics.replace("metrics", "other")).status_code == 404
    assert SHOP not in text and BANK not in text


def test_a_page_of_a_known_origin_may_ask_and_no_other(guarded: Guarded) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    allowed = guarded.ask("OPTIONS", "/classify", "", also=asked)
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert "Authorization" in allowed.headers["access-control-allow-headers"]
    answer = guarded.ask("POST", "/classify", json={"text": "a"}, also={"Origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE
    other = {**asked, "Origin": "https://other.example"}
    assert guarded.ask("OPTIONS", "/classify", "", also=other).status_code == 405
    unknown = guarded.ask("POST", "/classify", json={"text": "a"}, also=other)
    assert "access-control-allow-origin" not in unknown.headers


def test_each_request_is_logged_without_its_text_and_without_its_key(guarded: Guarded) -> None:
    secret = "nobody may read this sentence"
    guarded.ask("POST", "/classify", json={"text": secret}, also={"X-Request-Id": "of-the-test"})
    entry = guarded.logged(lambda entry: entry["id"] == "of-the-test")
    assert (entry["route"], entry["status"], entry["key"]) == ("/classify", 200, "shop")
    assert (entry["model"], entry["items"], entry["tokens"] > 0) == ("intent", 1, True)
    assert set(entry["ms"]) == {"total", "queue", "tokenize", "infer", "decode"}
    guarded.ask("GET", f"/{secret}", also={"X-Request-Id": "of-no-route"})
    assert guarded.logged(lambda entry: entry["id"] == "of-no-route")["route"] == "unknown"
    output = guarded.server.output()
    assert not any(word in output for word in (secret, SHOP, BANK, NEXT))
    assert "/livez" not in output


def test_the_metrics_may_need_a_key_and_the_log_may_have_the_texts(
    started: Callable[..., Guarded],
) -> None:
    asked = started(TRANSFER_METRICS="key", TRANSFER_LOG_REQUESTS="text")
    refused = asked.ask("GET", "/metrics", "")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
    assert "transfer_" not in refused.text
    assert asked.ask("GET", "/metrics", SHOP[:-1]).status_code == 401
    assert "transfer_queue_depth" in asked.ask("GET", "/metrics").text
    text = "send money " * 400
    named = {"X-Request-Id": "with-its-text"}
    asked.ask("POST", "/classify", json={"text": text}, also=named)
    entry = asked.logged(lambda entry: entry["id"] == "with-its-text")
    assert entry["body"].startswith('{"text":"send money send')
    assert (len(entry["body"]), entry["key"]) == (2000, "shop")
    assert SHOP not in asked.server.output()


def test_the_log_may_be_off(started: Callable[..., Guarded]) -> None:
    quiet = started(TRANSFER_LOG_REQUESTS="off")
    assert quiet.classify().status_code == 200
    assert quiet.classify("").status_code == 401
    quiet.server.process.terminate()
    assert quiet.server.process.wait(20) == 0  # what had waited to be written is written by now
    lines = quiet.server.output().splitlines()
    assert not [line for line in lines if line.startswith("{")]
