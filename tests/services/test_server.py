"""The REST contract, over a socket, against one real server process."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
import requests
from huggingface_hub import AsyncInferenceClient, InferenceClient, configure_http_backend
from huggingface_hub.errors import HfHubHTTPError

from services import answers
from services.schemas import EXAMPLES, ROUTES
from tests.services.conftest import STORED
from tests.services.server import Server

RESULTS = {
    "/classify": answers.ClassifyResult,
    "/qa": answers.QaResult,
    "/summarize": answers.SummarizeResult,
}
BODIES = [
    (route, body) for route, bodies in EXAMPLES.items() for body in bodies if not body.get("stream")
]


def post(client: httpx.Client, route: str, body: Any) -> Any:
    response = client.post(route, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def fault(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Every error has the same body, and the same id in it as in the header."""
    assert response.status_code == status, response.text
    error = msgspec.json.decode(response.content, type=answers.ErrorAnswer).error
    assert (error.code, error.request_id) == (code, response.headers["x-request-id"])
    assert error.message and error.hint
    assert response.headers["cache-control"] == "no-store"
    return {"message": error.message, "hint": error.hint}


# --- answers


def test_classify(client: httpx.Client) -> None:
    answer = post(client, "/classify", {"text": "please send money", "top_k": 2})
    assert (answer["model"], answer["variant"]) == ("intent", "distilled-int8")
    result = answer["results"][0]
    assert (result["label"], result["abstained"], len(result["scores"])) == (
        "transfer_money",
        False,
        2,
    )
    assert answer["usage"] == {"tokens": 5, "truncated": False, "windows": 1}


def test_a_named_variant_answers(client: httpx.Client) -> None:
    answer = post(client, "/classify", {"text": "send money", "variant": "full"})
    assert (answer["variant"], answer["results"][0]["label"]) == ("full", "transfer_money")


def test_a_multi_label_model_adds_what_it_chose(client: httpx.Client) -> None:
    answer = post(client, "/classify", {"text": "happy and angry", "model": "emotion"})
    assert set(answer["results"][0]["chosen"]) == {"joy", "anger"}


def test_labels_are_answered_by_zeroshot(client: httpx.Client) -> None:
    body = {"text": ["the courier", "the bill"], "labels": ["payment", "delivery"]}
    answer = post(client, "/classify", body)
    assert answer["model"] == "zeroshot"
    assert [one["label"] for one in answer["results"]] == ["delivery", "payment"]


def test_threshold_0_always_answers(client: httpx.Client) -> None:
    unsure = {"text": "the card"}
    assert post(client, "/classify", unsure)["results"][0]["abstained"]
    sure = post(client, "/classify", {**unsure, "threshold": 0})
    assert not sure["results"][0]["abstained"]


def test_qa_over_documents(client: httpx.Client) -> None:
    documents = ["the card 😀", "it is in Paris"]
    answer = post(client, "/qa", {"question": "where", "context": documents})
    result = answer["results"][0]
    assert (result["answer"], result["document"]) == ("Paris", 1)
    assert documents[1][result["start"] : result["end"]] == "Paris"


def test_qa_questions_share_a_context_or_are_paired(client: httpx.Client) -> None:
    questions, contexts = ["when", "where"], ["on monday", "in paris"]
    shared = post(client, "/qa", {"question": questions, "context": contexts})
    assert [one["answer"] for one in shared["results"]] == ["paris", "paris"]
    paired = post(client, "/qa", {"question": questions, "context": contexts, "paired": True})
    assert [one["answer"] for one in paired["results"]] == ["monday", "paris"]


def test_qa_null(client: httpx.Client) -> None:
    result = post(client, "/qa", {"question": "when", "context": "the card"})["results"][0]
    assert (result["answer"], result["start"], result["alternatives"]) == (None, None, [])


STORY = "My card is here. This is important. The bill is there. This is urgent. The end is near."


def test_summarize(client: httpx.Client) -> None:
    answer = post(client, "/summarize", {"text": STORY, "max_sentences": 2})
    assert answer["results"][0]["summary"] == "This is important. This is urgent."
    assert len(post(client, "/summarize", {"text": STORY})["results"][0]["sentences"]) == 3
    words = post(client, "/summarize", {"text": STORY, "max_words": 3})
    assert words["results"][0]["summary"] == "This is important."


def test_summarize_streams_sentences_and_then_the_answer(client: httpx.Client) -> None:
    body = {"text": STORY, "max_sentences": 2}
    response = client.post("/summarize", json={**body, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [
        (event.split("\n")[0].removeprefix("event: "), json.loads(event.split("data: ")[1]))
        for event in response.text.strip().split("\n\n")
    ]
    whole = post(client, "/summarize", body)
    assert [name for name, _ in events] == ["sentence", "sentence", "result"]
    assert [data for _, data in events[:-1]] == whole["results"][0]["sentences"]
    assert events[-1][1] == whole


def test_compare(client: httpx.Client) -> None:
    body = {"task": "classify", "input": {"text": ["send money", "stolen card"]}}
    answer = msgspec.convert(post(client, "/compare", body), answers.CompareAnswer)
    assert [one.variant for one in answer.variants] == ["full", "distilled", "distilled-int8"]
    assert (answer.task, answer.model, answer.agreement) == ("classify", "intent", 1.0)
    assert all(one.latency_ms > 0 and one.memory_mb > 0 for one in answer.variants)
    for one in answer.variants:
        worked = one.stages_ms.tokenize + one.stages_ms.infer + one.stages_ms.decode
        assert worked == pytest.approx(one.latency_ms)
    assert answer.usage.windows == 6


def test_compare_only_what_is_named_and_with_the_first(client: httpx.Client) -> None:
    body = {
        "task": "qa",
        "input": {"question": "when", "context": "on monday"},
        "variants": ["distilled-int8", "full"],
    }
    answer = post(client, "/compare", body)
    assert [one["variant"] for one in answer["variants"]] == ["distilled-int8", "full"]
    assert answer["variants"][0]["agreement"] == 1.0


def test_long_text_is_windowed_cut_or_refused_as_asked(client: httpx.Client) -> None:
    text = "the card " * 40 + "stolen " * 60
    windowed = post(client, "/classify", {"text": text})
    assert windowed["results"][0]["label"] == "freeze_card"
    assert windowed["usage"]["windows"] > 1
    cut = post(client, "/classify", {"text": text, "long_text": "truncate"})
    assert cut["usage"] == {"tokens": 64, "truncated": True, "windows": 1}
    refused = client.post("/classify", json={"text": text, "long_text": "error"})
    fault(refused, 422, "text_too_long")


@pytest.mark.parametrize(("route", "body"), BODIES)
def test_every_example_is_answered_as_documented(
    client: httpx.Client, route: str, body: dict[str, Any]
) -> None:
    answer = post(client, route, body)
    if route in RESULTS:
        assert set(answer) == {"model", "variant", "results", "usage"}
        msgspec.convert(answer["usage"], answers.Usage)
        msgspec.convert(answer["results"], list[RESULTS[route]])  # type: ignore[misc]
    elif route == "/compare":
        msgspec.convert(answer, answers.CompareAnswer)


# --- both ways: BentoML's own client and handlers


@pytest.mark.parametrize(
    ("route", "body"), [(r, b) for r, b in BODIES if not r.startswith(("/hf", "/compare"))]
)
def test_bentoml_client_gets_the_same_answer(
    bento_client: Any, client: httpx.Client, route: str, body: dict[str, Any]
) -> None:
    assert getattr(bento_client, route.strip("/"))(body) == post(client, route, body)


# --- faults


@pytest.mark.parametrize("text", ["", "  \n", "\u200d"])
def test_empty_text_alone_is_422(client: httpx.Client, text: str) -> None:
    fault(client.post("/classify", json={"text": text}), 422, "empty_text")


def test_in_a_list_a_fault_stays_with_its_item(client: httpx.Client) -> None:
    content = b'{"text": ["send money", "", "half \\ud83d"]}'
    response = client.post(
        "/classify", content=content, headers={"content-type": "application/json"}
    )
    results = response.json()["results"]
    assert results[0]["label"] == "transfer_money"
    assert [one["error"]["code"] for one in results[1:]] == ["empty_text", "invalid_unicode"]


@pytest.mark.parametrize(
    ("route", "body", "status", "code"),
    [
        ("/classify", {"text": "a", "model": "nope"}, 404, "unknown_model"),
        ("/classify", {"text": "a", "variant": "nope"}, 404, "unknown_variant"),
        ("/classify", {"text": "a", "model": "reader"}, 422, "invalid_request"),
        ("/classify", {"text": "a", "model": "zeroshot"}, 422, "invalid_request"),
        ("/classify", {"text": "a", "labels": [" "]}, 422, "empty_text"),
        ("/qa", {"question": "", "context": "a"}, 422, "empty_text"),
        ("/qa", {"question": "a", "context": ["a", ""]}, 422, "empty_text"),
        ("/qa", {"question": "a"}, 422, "invalid_request"),
        ("/summarize", {"text": "a", "max_sentences": 0}, 422, "invalid_request"),
        ("/compare", {"task": "qa", "input": {}}, 422, "invalid_request"),
        (
            "/compare",
            {"task": "classify", "input": {"text": "a"}, "variants": ["nope"]},
            404,
            "unknown_variant",
        ),
        ("/hf/summarization", {"inputs": ""}, 422, "empty_text"),
        ("/hf/summarization", {"text": "a"}, 422, "invalid_request"),
    ],
)
def test_faults_have_one_body_and_a_status(
    client: httpx.Client, route: str, body: Any, status: int, code: str
) -> None:
    fault(client.post(route, json=body), status, code)


def test_an_unknown_model_is_answered_with_those_there_are(client: httpx.Client) -> None:
    error = fault(
        client.post("/qa", json={"question": "a", "context": "b", "model": "x"}),
        404,
        "unknown_model",
    )
    assert "intent" in error["hint"] and "reader" in error["hint"]


@pytest.mark.parametrize("route", list(ROUTES))
def test_every_route_refuses_what_it_does_not_read(client: httpx.Client, route: str) -> None:
    kind = {"content-type": "application/json"}
    fault(client.post(route, content=b"{", headers=kind), 400, "malformed_json")
    fault(client.post(route, content=b"[]", headers=kind), 422, "invalid_request")
    fault(client.post(route, content=b"{}"), 415, "unsupported_media_type")
    fault(client.post(route, data={"text": "a"}), 415, "unsupported_media_type")
    fault(client.post(route, files={"text": b"a"}), 415, "unsupported_media_type")
    gzip = {**kind, "content-encoding": "gzip"}
    fault(client.post(route, content=b"{}", headers=gzip), 415, "unsupported_media_type")
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        response = client.request(method, route)
        fault(response, 405, "method_not_allowed")
        assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/nope", "/classify/", "/docs/x", "/healthz", "/hf"])
def test_an_unknown_route_lists_the_known_ones(client: httpx.Client, path: str) -> None:
    error = fault(client.get(path), 404, "unknown_route")
    assert "/classify" in error["hint"]


def test_a_body_above_the_limit_is_413_declared_or_chunked(client: httpx.Client) -> None:
    kind = {"content-type": "application/json"}
    body = json.dumps({"text": "a" * 300_000}).encode()
    fault(client.post("/classify", content=body, headers=kind), 413, "body_too_large")
    chunks = (body[start : start + 10_000] for start in range(0, len(body), 10_000))
    fault(client.post("/classify", content=chunks, headers=kind), 413, "body_too_large")
    assert post(client, "/classify", {"text": "send"})["results"][0]["label"] == "transfer_money"


def test_a_client_that_leaves_disturbs_nobody(server: Server, client: httpx.Client) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
    assert post(client, "/classify", {"text": "send"})["results"]


# --- headers


@pytest.mark.parametrize(
    "path", ["/classify", "/models", "/docs.json", "/livez", "/readyz", "/metrics", "/nope"]
)
def test_nobody_stores_what_is_answered_or_guesses_its_type(
    client: httpx.Client, path: str
) -> None:
    body = {"json": {"text": "a"}} if path == "/classify" else {}
    response = client.request("POST" if body else "GET", path, **body)
    assert response.headers.get_list("cache-control") == ["no-store"]
    assert response.headers["x-content-type-options"] == "nosniff"


def test_the_callers_request_id_is_kept(client: httpx.Client) -> None:
    response = client.post("/classify", json={"text": "a"}, headers={"x-request-id": "my-id.7"})
    assert response.headers["x-request-id"] == "my-id.7"
    made = client.get("/livez", headers={"x-request-id": "no good"}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{16}", made)


def test_server_timing_names_every_stage(client: httpx.Client) -> None:
    timing = client.post("/classify", json={"text": "a"}).headers["server-timing"]
    parts = dict(re.findall(r"(\w+);dur=([\d.]+)", timing))
    assert list(parts) == ["queue", "tokenize", "infer", "decode", "total"]
    assert float(parts["total"]) >= float(parts["infer"])


# --- what there is


def test_models_lists_every_variant(client: httpx.Client) -> None:
    listed = msgspec.convert(client.get("/models").json(), answers.ModelsAnswer).models
    assert {(one.model, one.variant) for one in listed} == set(STORED)
    assert all(one.loaded and one.memory_mb for one in listed)
    assert {(one.model, one.variant) for one in listed if one.default} == {
        (model, "full-int8" if model == "zeroshot" else "distilled-int8") for model, _ in STORED
    }


def test_health(client: httpx.Client) -> None:
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.head("/livez").status_code == 200


def test_metrics_are_one_exposition_with_every_instrument(client: httpx.Client) -> None:
    post(client, "/classify", {"text": "send money"})
    client.post("/classify", content=b"x" * 300_000, headers={"content-type": "application/json"})
    text = client.get("/metrics").text
    for name in (
        'transfer_requests_total{model="intent",status="200",task="classify",variant="distilled-int8"}',
        'transfer_request_seconds_bucket{le="0.001",model="intent"',
        'transfer_stage_seconds_count{stage="infer",task="classify"}',
        'transfer_tokens_total{model="intent",task="classify",variant="distilled-int8"}',
        "transfer_batch_tokens_count",
        "transfer_batch_size_count",
        "transfer_queue_depth 0.0",
        "transfer_in_flight 0.0",
        'transfer_rejected_total{reason="body_too_large"}',
        'transfer_model_memory_bytes{model="intent",variant="full"}',
        'transfer_model_info{base="tiny",model="intent",precision="int8"',
    ):
        assert name in text, name
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(client: httpx.Client, path: str) -> None:
    page = client.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    for address in loaded:
        assert not address.startswith(("http:", "https:", "//")), address
        if not address.startswith("data:"):
            assert client.get(f"/{address}").status_code == 200, address


# --- Hugging Face


@pytest.fixture
def online() -> Iterator[None]:
    """A plain session, also where HF_HUB_OFFLINE is set: the address is this machine's own."""
    configure_http_backend(requests.Session)
    yield
    configure_http_backend()


@pytest.mark.usefixtures("online")
def test_hugging_faces_client_works_by_url(server: Server) -> None:
    def hf(route: str) -> InferenceClient:
        return InferenceClient(model=f"{server.url}/hf/{route}", token="none")

    labels = hf("text-classification").text_classification("send money", top_k=2)
    assert (labels[0].label, len(labels)) == ("transfer_money", 2)
    answer = hf("question-answering").question_answering(question="where", context="in paris")
    assert (answer.answer, answer.start, answer.end) == ("paris", 3, 8)
    summary = hf("summarization").summarization(STORY)
    assert "This is important." in summary.summary_text
    with pytest.raises(HfHubHTTPError, match="text is empty"):
        hf("summarization").summarization(" ")


@pytest.mark.usefixtures("online")
def test_hugging_faces_parameters_are_obeyed_or_refused(server: Server) -> None:
    client = InferenceClient(token="none")
    qa = {"question": "when", "model": f"{server.url}/hf/question-answering"}
    several = client.question_answering(context="on monday in paris", top_k=2, **qa)
    assert [one.answer for one in several] == ["paris", "monday"]
    none = client.question_answering(context="the card", handle_impossible_answer=True, **qa)
    assert (none.answer, none.score > 0.5) == ("", True)
    long = "This is important. " + "The end is near. " * 30
    summary = f"{server.url}/hf/summarization"
    cut = client.summarization(long, model=summary, truncation="only_first")
    assert "This is important." in cut.summary_text
    classify = f"{server.url}/hf/text-classification"
    with pytest.raises(HfHubHTTPError, match="function_to_apply"):
        client.text_classification("send", model=classify, function_to_apply="sigmoid")


def test_hugging_faces_asynchronous_client_works_too(server: Server) -> None:
    async def ask() -> list[Any]:
        async with AsyncInferenceClient(token="none") as client:
            return await asyncio.gather(
                client.text_classification(
                    "send money", model=f"{server.url}/hf/text-classification"
                ),
                client.question_answering(
                    question="where",
                    context="in paris",
                    model=f"{server.url}/hf/question-answering",
                ),
                client.summarization(STORY, model=f"{server.url}/hf/summarization"),
            )

    labels, answer, summary = asyncio.run(ask())
    assert (labels[0].label, answer.answer) == ("transfer_money", "paris")
    assert "This is important." in summary.summary_text


def test_hugging_faces_question_answering_may_find_nothing(client: httpx.Client) -> None:
    inputs = {"question": "when", "context": "the card"}
    forced = post(client, "/hf/question-answering", {"inputs": inputs})
    assert forced["answer"]
    allowed = {"inputs": inputs, "parameters": {"handle_impossible_answer": True}}
    none = post(client, "/hf/question-answering", allowed)
    assert (none["answer"], none["start"], none["end"]) == ("", 0, 0)
    two = post(client, "/hf/question-answering", {"inputs": inputs, "parameters": {"top_k": 2}})
    assert len(two) == 2


# --- many at once


def test_many_clients_get_their_own_answers(client: httpx.Client) -> None:
    texts = {"send": "transfer_money", "stolen": "freeze_card", "balance": "check_balance"}
    jobs = list(texts.items()) * 60

    def ask(job: tuple[str, str]) -> bool:
        return bool(post(client, "/classify", {"text": job[0]})["results"][0]["label"] == job[1])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, jobs))
