"""A model that writes behind a real server: answers, options, events, deadlines, leaving."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.runtime import Runtime
from services.tasks.generate_summary import GenerateSummary
from tests.services import tiny
from tests.services.server import environment, serving
from tests.services.writers import TinyWriter, write_variant
from tests.tiny_bases import sample_texts

TEXT = sample_texts()[0]
LONG = " ".join(sample_texts()[:12])
ENDLESS = {"num_beams": 1, "min_new_tokens": 512, "max_new_tokens": 512}


@pytest.fixture(scope="module")
def folder(writers: dict[str, TinyWriter], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_variant(
        tmp_path_factory.mktemp("story") / "variant", writers["bart"], name="story-full"
    )


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    root = tmp_path_factory.mktemp("stories")
    other = tiny.write_variant(root / "highlights", "highlights", "full")
    tags = [tiny.store(one, root / "home") for one in (folder, other)]
    lock = tiny.write_lock(root / "variants.lock.json", tags)
    env = environment(root / "home", lock, TRANSFER_PLANS=str(root / "plans.json"))
    with serving(root / "log.txt", env) as server:
        server.wait_until_ready()
        with httpx.Client(base_url=server.url, timeout=60) as connected:
            yield connected


def summary_of(folder: Path, text: str, **options: Any) -> str:
    runtime = Runtime.load(folder)
    assert isinstance(runtime.task, GenerateSummary)
    encoded = runtime.task.encode(text, **options)
    summary: str = runtime.task.decode(encoded, runtime.infer(encoded.windows))["summary"]
    return summary


def body(text: str = TEXT, **fields: Any) -> dict[str, Any]:
    return {"text": text, "model": "story", **fields}


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """(name, data) of each event of a stream."""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def streamed(client: httpx.Client, request: dict[str, Any]) -> list[tuple[str, Any]]:
    with client.stream("POST", "/summarize", json={**request, "stream": True}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        return list(events_of(response.iter_lines()))


def counted(client: httpx.Client, metric: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(metric))


def test_texts_are_answered_in_the_model_s_own_words(client: httpx.Client, folder: Path) -> None:
    answer = client.post("/summarize", json=body([TEXT, "  ", LONG])).json()  # type: ignore[arg-type]
    assert [one.get("summary") for one in answer["results"]] == [
        summary_of(folder, TEXT),
        None,
        summary_of(folder, LONG),
    ]
    assert answer["results"][1]["error"]["code"] == "empty_text"
    assert answer["results"][0]["sentences"] == []


def test_a_request_chooses_how_it_is_written(client: httpx.Client, folder: Path) -> None:
    options = {"num_beams": 1, "max_new_tokens": 7, "min_new_tokens": 7}
    answer = client.post("/summarize", json=body(generation=options)).json()
    assert answer["results"][0]["summary"] == summary_of(folder, TEXT, **options)
    payload = {"inputs": TEXT, "parameters": {"generate_parameters": options}}
    refused = client.post("/hf/summarization", json=payload)  # the default model only chooses
    assert refused.status_code == 422
    assert "chooses sentences" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("generation", "words"),
    [
        ({"num_beams": 17}, "num_beams"),
        ({"temperature": 1.0}, "temperature"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"early_stopping": "sometimes"}, "early_stopping"),
    ],
)
def test_options_that_no_search_has_are_refused(
    client: httpx.Client, generation: dict[str, Any], words: str
) -> None:
    refused = client.post("/summarize", json=body(generation=generation))
    assert refused.status_code == 422
    assert words in refused.json()["error"]["message"]


@pytest.mark.parametrize("text", [TEXT, LONG])
@pytest.mark.parametrize("beams", [1, 3])
def test_the_tokens_of_a_stream_are_the_summary(
    client: httpx.Client, text: str, beams: int
) -> None:
    request = body(text, generation={"num_beams": beams})
    events = streamed(client, request)
    whole = client.post("/summarize", json=request).json()
    assert {name for name, _ in events[:-1]} == {"token"}
    assert events[-1] == ("result", whole)
    pieces = [data["text"] for _, data in events[:-1]]
    assert "".join(pieces) == whole["results"][0]["summary"]
    assert beams > 1 or len(pieces) > 1


@pytest.mark.parametrize("limit", [{"max_words": 4}, {"max_sentences": 1}])
def test_a_summary_with_a_limit_is_told_when_it_is_chosen(
    client: httpx.Client, limit: dict[str, int]
) -> None:
    request = body(LONG, **limit)
    events = streamed(client, request)
    assert [name for name, _ in events] == ["token", "result"]
    assert events[0][1]["text"] == events[1][1]["results"][0]["summary"]


def test_faults_before_the_first_event_have_their_own_status(client: httpx.Client) -> None:
    empty = client.post("/summarize", json=body(" ", stream=True))
    assert (empty.status_code, empty.json()["error"]["code"]) == (422, "empty_text")
    late = client.post(
        "/summarize",
        json=body(LONG, stream=True, max_words=5, generation=ENDLESS),
        headers={"X-Request-Timeout-Ms": "50"},
    )
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_a_deadline_on_the_way_ends_the_stream_with_an_error(client: httpx.Client) -> None:
    request = body(LONG * 10, stream=True, generation=ENDLESS)
    headers = {"X-Request-Timeout-Ms": "1000", "X-Request-Id": "mine"}
    with client.stream("POST", "/summarize", json=request, headers=headers) as response:
        assert response.status_code == 200
        events = list(events_of(response.iter_lines()))
    assert events[0][0] == "token"
    assert events[-1][0] == "error"
    assert events[-1][1]["error"]["code"] == "deadline_exceeded"
    assert events[-1][1]["error"]["request_id"] == "mine"


def test_writing_ends_when_the_client_leaves(client: httpx.Client) -> None:
    request = body(LONG * 10, stream=True, generation=ENDLESS)
    with client.stream("POST", "/summarize", json=request) as response:
        assert next(events_of(response.iter_lines()))[0] == "token"
    until = time.monotonic() + 20
    while counted(client, "transfer_queue_tokens") or counted(client, "transfer_in_flight"):
        assert time.monotonic() < until, "it goes on writing for nobody"
        time.sleep(0.05)
    statuses = client.get("/metrics").text
    assert 'status="499",task="summarize"' in statuses


def test_comparing_and_listing_know_it(client: httpx.Client) -> None:
    compared = client.post("/compare", json={"task": "summarize", "input": body()}).json()
    assert compared["variants"][0]["results"][0]["summary"]
    [entry] = [one for one in client.get("/models").json()["models"] if one["model"] == "story"]
    assert entry["task"] == "summarize" and entry["loaded"]
