"""The Python client: against a real server, and against answers made up where faults are needed."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import msgspec
import pytest

from services import client_wire, schemas, windows
from services.answers import ClassifyResult, Fault, SummarySentence
from services.client import AsyncClient, Client, Retries, ServiceError
from tests.services.server import ROOT, Server, free_port

STORY = "My card is here. This is important. The bill is there. This is urgent. The end is near."
QUICK = Retries(most=3, patience_s=5, first_wait_s=0.01)


@pytest.fixture(scope="module")
def connected(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


# --- answers of a real server


def test_classify(connected: Client) -> None:
    answer = connected.classify("please send money", top_k=2)
    assert (answer.model, answer.variant) == ("intent", "distilled-int8")
    assert (answer.first.label, len(answer.first.scores)) == ("transfer_money", 2)
    assert answer.usage.tokens == 5
    assert set(answer.timing_ms) == {"queue", "tokenize", "infer", "decode", "total"}
    assert answer.request_id


def test_options_reach_the_service(connected: Client) -> None:
    own = connected.classify("the courier", labels=["payment", "delivery"], variant="full")
    assert (own.model, own.variant, own.first.label) == ("zeroshot", "full", "delivery")
    many = connected.classify("happy and angry", model="emotion")
    assert set(many.first.chosen or []) == {"joy", "anger"}


def test_an_item_that_cannot_be_answered_is_a_fault_among_the_others(connected: Client) -> None:
    answer = connected.classify(["send money", ""])
    assert isinstance(answer.results[0], ClassifyResult)
    assert isinstance(answer.results[1], Fault)
    assert answer.results[1].code == "empty_text"
    with pytest.raises(ServiceError, match="text is empty") as caught:
        _ = dataclasses.replace(answer, results=answer.results[1:]).first
    assert caught.value.code == "empty_text"


def test_qa(connected: Client) -> None:
    context = "it is in Paris"
    result = connected.qa("where", context, threshold=0).first
    assert result.answer == "Paris"
    assert context[result.start : result.end] == "Paris"
    assert connected.qa("when", "the card").first.answer is None


def test_summarize(connected: Client) -> None:
    result = connected.summarize(STORY, max_sentences=2).first
    assert result.summary == "This is important. This is urgent."
    assert STORY[result.sentences[0].start : result.sentences[0].end] == "This is important."


def test_a_stream_ends_with_the_whole_answer(connected: Client) -> None:
    *sentences, last = connected.summarize_stream(STORY, max_sentences=2)
    assert [one.text for one in sentences if isinstance(one, SummarySentence)] == [
        "This is important.",
        "This is urgent.",
    ]
    whole = connected.summarize(STORY, max_sentences=2)
    assert isinstance(last, client_wire.Answer)
    assert last.results == whole.results


def test_compare_and_models(connected: Client) -> None:
    answer = connected.compare("classify", {"text": "send money"}, ["full", "distilled-int8"])
    assert [one.variant for one in answer.variants] == ["full", "distilled-int8"]
    assert answer.variants[0].stages_ms.infer > 0
    assert {one.model for one in connected.models()} >= {"intent", "reader", "highlights"}


def test_a_refusal_has_all_that_the_service_says(connected: Client) -> None:
    with pytest.raises(ServiceError, match="No model 'nope' is loaded") as caught:
        connected.classify("a", model="nope")
    error = caught.value
    assert (error.status, error.code) == (404, "unknown_model")
    assert "intent" in error.hint and error.request_id
    with pytest.raises(ServiceError) as caught:
        list(connected.summarize_stream(" "))
    assert (caught.value.status, caught.value.code) == (422, "empty_text")


def test_headers_go_with_every_request(server: Server) -> None:
    with Client(server.url, headers={"x-request-id": "mine"}) as client:
        assert client.classify("send money").request_id == "mine"


def test_async_has_the_same_answers(server: Server, connected: Client) -> None:
    async def ask() -> list[Any]:
        async with AsyncClient(server.url) as client:
            several = await asyncio.gather(
                client.classify("send money"),
                client.qa("where", "in paris"),
                client.summarize(STORY),
            )
            events = [one async for one in client.summarize_stream(STORY, max_sentences=1)]
            compared = await client.compare("classify", {"text": "send"})
            return [*several, events, compared, await client.models()]

    one, two, three, events, compared, models = asyncio.run(ask())
    assert one.first == connected.classify("send money").first
    assert two.first == connected.qa("where", "in paris").first
    assert three.first == connected.summarize(STORY).first
    assert [type(event) for event in events] == [SummarySentence, client_wire.Answer]
    assert compared.agreement == 1.0
    assert models == connected.models()


def test_async_refusals_are_the_same(server: Server) -> None:
    async def ask() -> None:
        async with AsyncClient(server.url) as client:
            await client.qa("", "a")

    with pytest.raises(ServiceError) as caught:
        asyncio.run(ask())
    assert (caught.value.status, caught.value.code) == (422, "empty_text")


@pytest.mark.parametrize("both", ["sync", "async"])
def test_the_key_is_sent(both: str) -> None:
    sent: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("authorization"))
        return httpx.Response(200, content=b'{"models":[]}')

    transport = httpx.MockTransport(answer)

    async def ask(key: str | None) -> None:
        async with AsyncClient(transport=transport, api_key=key) as client:
            await client.models()

    for key in ("k", None):
        if both == "sync":
            with Client(transport=transport, api_key=key) as client:
                client.models()
        else:
            asyncio.run(ask(key))
    assert sent == ["Bearer k", None]


# --- what a service may say, played back: (status, headers, body) for each request in turn

Played = tuple[int, dict[str, str], bytes] | Exception
BUSY = b'{"error":{"code":"overloaded","message":"Busy.","hint":"Wait.","request_id":"7"}}'
GOOD = (
    b'{"model":"intent","variant":"full","results":[{"label":"a","score":1.0,"scores":[],'
    b'"abstained":false}],"usage":{"tokens":3,"truncated":false,"windows":1}}'
)


class Playback(httpx.MockTransport):
    """Answers in turn; what is asked after the last one is a defect of the test."""

    def __init__(self, *answers: Played) -> None:
        self.left = list(answers)
        super().__init__(self.play)

    def play(self, request: httpx.Request) -> httpx.Response:
        answer = self.left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, headers, body = answer
        return httpx.Response(status, headers=headers, content=body)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that clients slept, instead of sleeping."""
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("services.client.time.sleep", slept.append)
    monkeypatch.setattr("services.client.asyncio.sleep", note)
    return slept


def asked(transport: Playback, retries: Retries, both: str) -> str:
    """The label that a client gets, of either kind."""
    if both == "sync":
        with Client(transport=transport, retries=retries) as client:
            return client.classify("a").first.label

    async def ask() -> str:
        async with AsyncClient(transport=transport, retries=retries) as client:
            return (await client.classify("a")).first.label

    return asyncio.run(ask())


BOTH = pytest.mark.parametrize("both", ["sync", "async"])


@BOTH
def test_retry_after_is_honoured(waits: list[float], both: str) -> None:
    played = Playback((429, {"retry-after": "2"}, BUSY), (503, {"retry-after": "1"}, BUSY))
    played.left.append((200, {}, GOOD))
    assert asked(played, QUICK, both) == "a"
    assert waits == [2.0, 1.0]


NOON = "Wed, 21 Oct 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 21 Oct 2026 12:00:30 GMT", "date": NOON}, 30.0),
        ({"retry-after": "Wednesday, 21-Oct-26 12:02:00 GMT", "date": NOON}, 120.0),
        ({"retry-after": "Wed, 21 Oct 2026 11:59:00 GMT", "date": NOON}, 0.0),  # it is over
        ({"retry-after": "Wed, 21 Oct 2015 12:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 99 Oct 2026 12:00:30 GMT"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert client_wire.retry_after_s(headers) == seconds


def test_a_date_without_the_answers_own_counts_from_now() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < (client_wire.retry_after_s({"retry-after": until}) or 0) <= 3600


@BOTH
def test_a_date_is_waited_for_if_patience_lasts(waits: list[float], both: str) -> None:
    soon = {"retry-after": "Wed, 21 Oct 2026 12:00:02 GMT", "date": NOON}
    assert asked(Playback((429, soon, BUSY), (200, {}, GOOD)), QUICK, both) == "a"
    late = {"retry-after": "Wed, 21 Oct 2026 12:01:00 GMT", "date": NOON}
    with pytest.raises(ServiceError, match="Busy"):
        asked(Playback((429, late, BUSY)), QUICK, both)
    assert waits == [2.0]


@BOTH
def test_without_it_waits_grow_and_differ_by_chance(waits: list[float], both: str) -> None:
    gone = httpx.ConnectError("gone")
    played = Playback(gone, (502, {}, b"<html>bad gateway</html>"), gone, (200, {}, GOOD))
    assert asked(played, QUICK, both) == "a"
    assert [0.005 * 2**n <= wait <= 0.01 * 2**n for n, wait in enumerate(waits)] == [True] * 3


@BOTH
@pytest.mark.parametrize(
    ("played", "retries", "code"),
    [
        ((429, {"retry-after": "60"}, BUSY), QUICK, "overloaded"),  # longer than its patience
        ((429, {"retry-after": "1"}, BUSY), Retries(most=0), "overloaded"),
        ((504, {}, BUSY), QUICK, "overloaded"),
        ((422, {}, BUSY), QUICK, "overloaded"),
        ((500, {}, b"oops"), QUICK, "unexpected_answer"),
        ((200, {}, b"<html>"), QUICK, "unexpected_answer"),
        (httpx.ReadTimeout("slow"), QUICK, "timeout"),
        (httpx.UnsupportedProtocol("ftp"), QUICK, "invalid_url"),
        (httpx.ConnectError("gone"), Retries(most=0), "unreachable"),
    ],
)
def test_what_waiting_does_not_cure_is_raised_at_once(
    waits: list[float], both: str, played: Played, retries: Retries, code: str
) -> None:
    with pytest.raises(ServiceError) as caught:
        asked(Playback(played), retries, both)
    assert (caught.value.code, waits) == (code, [])
    assert caught.value.message and caught.value.hint


def test_the_last_refusal_is_raised_as_it_came(waits: list[float]) -> None:
    busy: Played = (429, {"retry-after": "1"}, BUSY)
    with pytest.raises(ServiceError) as caught:
        asked(Playback(*[busy] * 4), QUICK, "sync")
    error = caught.value
    assert (error.status, error.request_id, error.retry_after_s) == (429, "7", 1.0)
    assert (error.message, error.hint, waits) == ("Busy.", "Wait.", [1.0, 1.0, 1.0])


def test_a_service_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, retries=Retries(most=0)) as client, pytest.raises(ServiceError, match=url):
        client.models()


# --- streams


def events(*pieces: tuple[str, bytes]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (name.encode(), data) for name, data in pieces)


WRITTEN = GOOD.replace(b'"label":"a","score":1.0,"scores":[],"abstained":false', b"%s") % (
    b'"summary":"A cat","sentences":[],"compression":0.5'
)
PIECES = (("token", b'{"text":"A "}'), ("token", b'{"text":"cat"}'))


def streamed(both: str, *answers: Played) -> list[Any]:
    got: list[Any] = []
    played = Playback(*answers)
    if both == "sync":
        with Client(transport=played, retries=QUICK) as client:
            for event in client.summarize_stream("a"):
                got.append(event)
        return got

    async def ask() -> None:
        async with AsyncClient(transport=played, retries=QUICK) as client:
            async for event in client.summarize_stream("a"):
                got.append(event)

    asyncio.run(ask())
    return got


@BOTH
def test_tokens_are_text(waits: list[float], both: str) -> None:
    busy: Played = (429, {"retry-after": "1"}, BUSY)
    *pieces, last = streamed(both, busy, (200, {}, events(*PIECES, ("result", WRITTEN))))
    assert (pieces, last.first.summary, waits) == (["A ", "cat"], "A cat", [1.0])


@BOTH
def test_an_error_on_the_way_is_raised(both: str) -> None:
    with pytest.raises(ServiceError, match="Busy") as caught:
        streamed(both, (200, {}, events(*PIECES, ("error", BUSY))))
    assert (caught.value.code, caught.value.request_id) == ("overloaded", "7")


@BOTH
def test_a_stream_that_breaks_off_is_no_answer(both: str) -> None:
    with pytest.raises(ServiceError) as caught:
        streamed(both, (200, {"x-request-id": "9"}, events(*PIECES)))
    assert (caught.value.code, caught.value.request_id) == ("stream_broken", "9")


# --- what the documents and the service say


def test_the_code_of_the_documents_runs(server: Server) -> None:
    text = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
    assert len(blocks) == 3
    code = "\n".join(blocks).replace("http://127.0.0.1:3000", server.url)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_options_are_those_of_the_requests() -> None:
    assert client_wire.LongText == windows.LongText
    for options, request, positional in (
        (client_wire.ClassifyOptions, schemas.ClassifyRequest, {"text"}),
        (client_wire.QaOptions, schemas.QaRequest, {"question", "context"}),
        (client_wire.SummarizeOptions, schemas.SummarizeRequest, {"text", "stream"}),
    ):
        fields = {field.name for field in msgspec.structs.fields(request)}
        assert set(typing.get_type_hints(options)) | positional == fields


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)
