from __future__ import annotations

from typing import Any

import pytest

from load_tests.modules import LoadError
from load_tests.peers import servers
from load_tests.peers.long_context import CHARACTERS, NEEDLE, document
from load_tests.peers.questions import check_offsets
from load_tests.server import Server


@pytest.mark.parametrize(
    "answer",
    [
        {"results": [{"label": "a", "score": 1.0}]},
        {"label": "a", "score": 1.0},
        [{"label": "a", "score": 1.0}],
    ],
)
def test_a_label_is_found_in_the_answers_of_all_servers(answer) -> None:
    assert servers.label_of(answer) == "a"


def test_agreement_is_the_share_of_equal_labels() -> None:
    assert servers.agreement(["a", "b", "c", "d"], ["a", "b", "x", "d"]) == 0.75


def test_our_bodies_are_single_texts_or_lists(tiny_server: Server) -> None:
    one = servers.our_target(tiny_server, "full-int8", 1)
    many = servers.our_target(tiny_server, "full-int8", 2)
    assert one.body(["t"]) == {"text": "t", "model": "intent", "variant": "full-int8"}
    assert many.body(["t", "u"])["text"] == ["t", "u"]
    assert many.labels(["t", "u"]) == ["a", "a"]


@pytest.mark.parametrize("batch", [1, 3])
def test_requests_of_a_load_share_no_text(
    tiny_server: Server, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    sent: list[Any] = []
    for run in ("run_wrk", "run_to_the_end"):
        monkeypatch.setattr(servers, run, lambda url, bodies, *_, **__: sent.extend(bodies))
    texts = [f"text {i}" for i in range(9)]
    servers.our_target(tiny_server, "full-int8", batch).load(texts, 1)
    found = [text for body in sent for text in ([body["text"]] if batch == 1 else body["text"])]
    assert sorted(found) == texts


def test_a_load_of_large_requests_counts_all_that_it_sent(tiny_server: Server) -> None:
    texts = [f"text {i}" for i in range(9)]
    load = servers.our_target(tiny_server, "full-int8", 3).load(texts, 1)
    assert load.failures == 0
    assert load.rate == pytest.approx(load.requests / load.seconds)
    assert load.server_cpu > 0


def test_a_refused_request_is_reported_with_what_was_said(tiny_server: Server) -> None:
    url = f"{tiny_server.url}/summarize"
    with pytest.raises(LoadError, match=r"429.*overloaded"):
        for _ in range(2):
            servers.post(url, {"text": "a"})


def test_a_server_that_is_not_there_is_reported() -> None:
    with pytest.raises(LoadError, match="no answer"):
        servers.post("http://127.0.0.1:9/classify", {})


def test_spans_are_checked_in_code_points() -> None:
    context = "Zoë 🙂 has the key"
    check_offsets(context, {"answer": "the key", "start": 10, "end": 17})
    with pytest.raises(LoadError, match="there is"):
        check_offsets(context, {"answer": "the key", "start": 12, "end": 19})


def test_the_long_document_is_as_long_as_it_says_and_has_its_answer() -> None:
    text = document(CHARACTERS)
    assert len(text) == CHARACTERS
    assert text.count(NEEDLE) == 1
    assert NEEDLE in document(CHARACTERS // 10)
