"""The four jobs on tiny graphs whose right answers are known."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.errors import ContentError
from services.items import items_of
from services.runtime import Runtime, result_of
from services.scheduler import Scheduler
from services.schemas import ClassifyRequest
from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.qa import AnswerQuestions, Span, banded_sums
from services.tasks.summarize import Summarize, split_sentences
from services.work import work

Runtimes = dict[str, Runtime]


def run(runtime: Runtime, *inputs: Any, **choices: Any) -> dict[str, Any]:
    return result_of(runtime, runtime.task.encode(*inputs), **choices)


# --- classify


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("please send money to my account", "transfer_money"),
        ("my card was stolen", "freeze_card"),
        ("what is the balance", "check_balance"),
    ],
)
def test_classify_finds_the_label(runtimes: Runtimes, text: str, label: str) -> None:
    result = run(runtimes["intent/full"], text)
    assert (result["label"], result["abstained"]) == (label, False)
    assert result["score"] > 0.9


def test_classify_abstains_below_its_threshold_and_still_names_the_best(
    runtimes: Runtimes,
) -> None:
    result = run(runtimes["intent/full"], "the card", top_k=3)
    assert result["abstained"]
    assert result["label"] in result["scores"][0]["label"]
    assert sum(one["score"] for one in result["scores"]) == pytest.approx(1)
    assert not run(runtimes["intent/full"], "the card", threshold=0.0)["abstained"]


def test_a_text_outside_of_the_classes_scores_low_and_nothing_else_changes(
    runtimes: Runtimes,
) -> None:
    """Two labels alike, once with much energy and once with little."""
    task = runtimes["intent/full"].task
    assert isinstance(task, Classify)
    scoped = Classify(
        task.tokenizer, replace(task.settings, scope_bias=5.0, scope_temperature=0.5, threshold=0.5)
    )
    encoded = task.encode("the card")
    for level, inside in ((8.0, 1.0), (0.0, 0.0)):
        outputs = [{"logits": np.array([level, level - 4.0, level - 4.0], np.float32)}]
        plain, found = task.decode(encoded, outputs, 3), scoped.decode(encoded, outputs, 3)
        assert found["score"] == pytest.approx(inside * plain["score"], abs=0.01)
        assert found["abstained"] is (inside == 0.0)
        assert [s["label"] for s in found["scores"]] == [s["label"] for s in plain["scores"]]
        assert scoped.decode(encoded, outputs, threshold=0.0)["abstained"] is False


def test_a_temperature_moves_scores_and_keeps_the_order(runtimes: Runtimes) -> None:
    for name, text in (("intent/full", "send my card"), ("emotion/full", "happy and angry")):
        runtime = runtimes[name]
        task = runtime.task
        assert isinstance(task, Classify)
        encoded = task.encode(text)
        outputs = runtime.infer(encoded.windows)
        soft = Classify(task.tokenizer, replace(task.settings, temperature=4.0))
        before, after = task.scores(encoded, outputs), soft.scores(encoded, outputs)
        assert after.max() < before.max()
        assert after.argsort().tolist() == before.argsort().tolist()


def test_classify_reads_the_end_of_a_long_text(runtimes: Runtimes) -> None:
    text = "the card is my account and " * 30 + "stolen " * 30
    runtime = runtimes["intent/full"]
    encoded = runtime.task.encode(text)
    assert len(encoded.windows) > 3
    assert result_of(runtime, encoded)["label"] == "freeze_card"


def test_multi_label_chooses_all_that_fit(runtimes: Runtimes) -> None:
    result = run(runtimes["emotion/full"], "happy and angry", top_k=3)
    assert set(result["chosen"]) == {"joy", "anger"}
    nothing = run(runtimes["emotion/full"], "the account")
    assert (nothing["chosen"], nothing["abstained"]) == ([], True)
    assert set(run(runtimes["emotion/full"], "the account", threshold=0.0)["chosen"]) == {
        "joy",
        "anger",
        "neutral",
    }


# --- zero-shot


def test_zero_shot_picks_the_label_that_means_the_same(runtimes: Runtimes) -> None:
    runtime = runtimes["zeroshot/full"]
    labels = ["invoice", "delivery"]
    assert run(runtime, "the courier", labels)["label"] == "delivery"
    assert run(runtime, "the bill", labels)["label"] == "invoice"


def test_zero_shot_remembers_labels(runtimes: Runtimes) -> None:
    runtime = runtimes["zeroshot/full-int8"]
    first = runtime.task.encode("the courier", ["payment", "parcel"])
    result = result_of(runtime, first, top_k=2)
    second = runtime.task.encode("the courier", ["payment", "parcel"])
    assert (len(first.windows), len(second.windows)) == (3, 1)
    assert result_of(runtime, second, top_k=2) == result


def test_of_a_long_text_zero_shot_keeps_a_vector_of_each_window(runtimes: Runtimes) -> None:
    runtime, scheduler = runtimes["zeroshot/full"], Scheduler(2, 1_000_000)
    text, labels = "The courier sent the bill of the card. " * 400, ["invoice", "delivery"]
    [item], _ = items_of(ClassifyRequest(text=text, labels=labels, top_k=2), runtime)
    kept: list[tuple[int, ...]] = []

    def decode(encoded: Encoded, outputs: list[Outputs]) -> dict[str, Any]:
        kept.extend(output["last_hidden_state"].shape for output in outputs)
        return item.decode(encoded, outputs)

    try:
        [done] = asyncio.run(scheduler.run(runtime, [replace(item, decode=decode)], 60.0))
    finally:
        scheduler.close()
    assert len(kept) > 10
    assert {tokens for tokens, _ in kept} == {1}
    assert done.result == run(runtime, text, labels, top_k=2)
    assert work(item, runtime).result == done.result


# --- questions


def test_qa_finds_the_answer_and_its_place(runtimes: Runtimes) -> None:
    context = "The courier is in Paris on Monday."
    result = run(runtimes["reader/full"], "when", [context], top_k=2)
    assert result["answer"] == "Paris"
    assert context[result["start"] : result["end"]] == "Paris"
    assert result["alternatives"][0]["answer"] == "Monday"


def test_qa_says_when_there_is_no_answer(runtimes: Runtimes) -> None:
    runtime = runtimes["reader/full"]
    result = run(runtime, "when", ["the card is my account"])
    assert result["answer"] is None
    assert (result["start"], result["end"], result["document"]) == (None, None, None)
    assert run(runtime, "when", ["the card is my account"], threshold=0.0)["answer"]


def test_qa_searches_documents_together(runtimes: Runtimes) -> None:
    documents = ["the card", "in paris", "by twenty", "on monday"]
    result = run(runtimes["reader/full"], "when", documents, top_k=3)
    found = [result, *result["alternatives"]]
    assert [(one["answer"], one["document"]) for one in found] == [
        ("twenty", 2),
        ("paris", 1),
        ("monday", 3),
    ]


FILLER = st.sampled_from(["the", "card 😀", "東京", "cafe\u0301", "İstanbul", "ß", "a.", "\t", "x"])


@settings(max_examples=150, deadline=None)
@given(
    before=st.lists(FILLER, max_size=80),
    after=st.lists(FILLER, max_size=80),
    top_k=st.integers(1, 4),
)
def test_qa_offsets_cut_the_answer_out_of_any_context(
    before: list[str], after: list[str], top_k: int, runtimes: Runtimes
) -> None:
    context = " ".join([*before, "Paris", *after])
    result = run(runtimes["reader/full"], "when is it", [context], top_k=top_k, threshold=0.0)
    assert result["answer"] == "Paris"
    for one in (result, *result["alternatives"]):
        assert context[one["start"] : one["end"]] == one["answer"]
        assert 0 <= one["score"] <= 1


def test_qa_refuses_a_question_that_leaves_no_room(runtimes: Runtimes) -> None:
    with pytest.raises(ContentError) as caught:
        runtimes["reader/full"].task.encode("money " * 60, ["the card"])
    assert caught.value.code == "question_too_long"


def test_banded_sums_hold_every_legal_span_once() -> None:
    start, end = np.array([1, 2, 3], np.float32), np.array([10, 20, 30], np.float32)
    sums = banded_sums(start, end, max_answer_tokens=2)
    assert sums.tolist() == [[11, 22, 33], [21, 32, -np.inf]]


def test_the_best_spans_of_many_windows_are_those_of_a_plain_search(runtimes: Runtimes) -> None:
    task = runtimes["reader/full"].task
    assert isinstance(task, AnswerQuestions)
    rng = np.random.default_rng(5)
    documents = ["The card was sent to the courier on monday. " * n for n in (60, 1, 20)]
    encoded = task.encode("Who?", documents)
    outputs: list[Outputs] = [
        {
            name: rng.normal(size=len(w)).astype(np.float32)
            for name in ("start_logits", "end_logits")
        }
        for w in encoded.windows
    ]
    found: list[Span] = []
    for window, output in zip(encoded.windows, outputs, strict=True):
        first, last = window.content
        start, end = (output[name] for name in ("start_logits", "end_logits"))
        offsets = encoded.tokens[window.document].offsets[window.first :]
        for left in range(last - first):
            for right in range(left, min(left + task.settings.max_answer_tokens, last - first)):
                margin = float(start[first + left] + end[first + right]) - float(start[0] + end[0])
                bounds = offsets[left][0], offsets[right][1]
                found.append(Span(window.document, *bounds, margin))
    kept: list[Span] = []
    for span in sorted(found, key=lambda span: -span.margin):
        apart = (
            span.document != one.document or span.end <= one.start or one.end <= span.start
            for one in kept
        )
        if all(apart):
            kept.append(span)
    assert len(encoded.windows) > 5
    assert task.best_spans(encoded, outputs, top_k=5) == kept[:5]
    assert {span.document for span in task.best_spans(encoded, outputs, top_k=100)} == {0, 1, 2}


# --- summaries

STORY = (
    "The card was sent to the courier. This is important for the account. "
    "My parcel is with the courier. The payment is urgent for the bill."
)


def test_summarize_picks_the_telling_sentences_in_their_order(runtimes: Runtimes) -> None:
    result = run(runtimes["highlights/full"], STORY, max_sentences=2)
    assert [one["text"] for one in result["sentences"]] == [
        "This is important for the account.",
        "The payment is urgent for the bill.",
    ]
    for one in result["sentences"]:
        assert STORY[one["start"] : one["end"]] == one["text"]
    assert result["compression"] == pytest.approx(len(result["summary"]) / len(STORY))


def test_a_summarizers_temperature_moves_scores_and_no_choice(runtimes: Runtimes) -> None:
    runtime = runtimes["highlights/full"]
    task = runtime.task
    assert isinstance(task, Summarize)
    encoded = task.encode("It is the first. This is urgent. This is important. The end.")
    outputs = runtime.infer(encoded.windows)
    soft = Summarize(task.tokenizer, replace(task.settings, temperature=4.0))
    before = task.decode(encoded, outputs, max_sentences=2)
    after = soft.decode(encoded, outputs, max_sentences=2)
    assert after["summary"] == before["summary"]
    assert max(s["score"] for s in after["sentences"]) < max(
        s["score"] for s in before["sentences"]
    )


def test_the_centrality_of_a_sentence_counts_by_its_weight(runtimes: Runtimes) -> None:
    runtime = runtimes["highlights/full"]
    task = runtime.task
    assert isinstance(task, Summarize)
    text = "This is urgent. The card of the account was sent. The bill of the account was sent."
    encoded = task.encode(text)
    outputs = runtime.infer(encoded.windows)

    def chosen(weight: float) -> str:
        weighed = Summarize(task.tokenizer, replace(task.settings, centrality=weight))
        return str(weighed.decode(encoded, outputs, max_sentences=1)["summary"])

    assert chosen(0.0) == task.decode(encoded, outputs, max_sentences=1)["summary"]
    assert chosen(0.0) == "This is urgent."
    assert chosen(100.0) == "The card of the account was sent."


def test_no_sentence_is_told_twice(runtimes: Runtimes) -> None:
    runtime = runtimes["highlights/full"]
    task = runtime.task
    assert isinstance(task, Summarize)
    text = "This is urgent for my bill. This is urgent for my card. This is urgent for my bill."
    encoded = task.encode(text)
    outputs = runtime.infer(encoded.windows)

    def count(block_trigrams: bool) -> int:
        chosen = Summarize(
            task.tokenizer, replace(task.settings, block_trigrams=block_trigrams)
        ).decode(encoded, outputs, max_sentences=3)
        return len(chosen["sentences"])

    assert (count(True), count(False)) == (1, 2)


def test_summarize_keeps_to_max_words(runtimes: Runtimes) -> None:
    result = run(runtimes["highlights/full"], STORY, max_words=7)
    assert result["summary"] == "This is important for the account."
    shorter = run(runtimes["highlights/full"], STORY, max_words=3)
    assert shorter["summary"] == "This is important"


def test_summarize_sees_the_end_of_a_long_text(runtimes: Runtimes) -> None:
    text = "The card was sent to the courier. " * 60 + "This is important for the account."
    result = run(runtimes["highlights/full"], text, max_sentences=1)
    assert result["summary"] == "This is important for the account."


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=12))
def test_windows_of_a_document_hold_whole_sentences_where_they_fit(
    lengths: list[int], runtimes: Runtimes
) -> None:
    task = runtimes["highlights/full"].task
    assert isinstance(task, Summarize)
    text, sentences = "", []
    for length in lengths:
        start = len(text)
        text += " ".join(["money"] * length)
        sentences.append((start, len(text)))
        text += " "
    encoded = task.encode(text, sentences)
    room = task.settings.max_tokens - 2
    seen: set[int] = set()
    for window in encoded.windows:
        size = window.content[1] - window.content[0]
        assert size <= room
        seen |= set(range(window.first, window.first + size))
    assert seen == set(range(sum(lengths)))
    starts = np.cumsum([0, *lengths])
    if max(lengths) <= room:
        assert {window.first for window in encoded.windows} <= set(starts.tolist())


def test_sentences_are_cut_without_the_space_around_them() -> None:
    text = "  One is here.  Two is there!\n\nThree? "
    assert [text[start:end] for start, end in split_sentences(text)] == [
        "One is here.",
        "Two is there!",
        "Three?",
    ]
