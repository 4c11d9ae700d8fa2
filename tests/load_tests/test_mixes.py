"""Length mixes."""

from __future__ import annotations

import pytest

from load_tests.mixes import LONG, MIXED, MIXES, SHORT, bodies_of, grouped, words_of
from services.errors import UsageError
from services.schemas import TASKS, convert_request

MODELS = {"classify": "intent", "qa": "reader", "summarize": "highlights"}


@pytest.mark.parametrize("task", MODELS)
@pytest.mark.parametrize("mix", MIXES)
def test_every_mix_has_many_different_valid_requests(task: str, mix: str) -> None:
    bodies = bodies_of(task, MODELS[task], mix)
    assert len({repr(body) for body in bodies}) == len(bodies) >= 60
    for body in bodies[:20]:
        convert_request(body, TASKS[task])


@pytest.mark.parametrize("task", MODELS)
def test_long_texts_are_longer_and_mixed_ones_lie_between(task: str) -> None:
    mean = {}
    for mix in MIXES:
        bodies = bodies_of(task, MODELS[task], mix)
        texts = [f"{body.get('context', '')} {body.get('text', '')}" for body in bodies]
        mean[mix] = sum(len(text.split()) for text in texts) / len(texts)
    assert mean[SHORT] * 1.5 < mean[LONG]
    assert mean[SHORT] < mean[MIXED] < mean[LONG]


def test_a_mix_follows_its_seed() -> None:
    assert bodies_of("classify", "intent", MIXED, seed=1) == bodies_of(
        "classify", "intent", MIXED, seed=1
    )
    assert bodies_of("classify", "intent", MIXED, seed=1) != bodies_of(
        "classify", "intent", MIXED, seed=2
    )


@pytest.mark.parametrize("task", MODELS)
def test_groups_share_no_text_and_are_valid_requests(task: str) -> None:
    bodies = bodies_of(task, MODELS[task], MIXED)
    found = grouped(task, bodies, 8)
    field = "question" if task == "qa" else "text"
    assert all(len(body[field]) == 8 for body in found)
    assert [text for body in found for text in body[field]] == [
        body[field] for body in bodies[: 8 * len(found)]
    ]
    for body in found[:5]:
        convert_request(body, TASKS[task])


def test_a_few_rows_make_one_group() -> None:
    (found,) = grouped("classify", [{"text": "a"}, {"text": "b"}, {"text": "c"}], 8)
    assert found["text"] == ["a", "b", "c", "a", "b", "c", "a", "b"]


def test_the_lengths_are_told_in_words() -> None:
    bodies = [{"text": "one two"}, {"question": "who", "context": "a b c"}]
    assert words_of(bodies) == {"n": 2, "min_words": 2, "max_words": 4}


def test_an_unknown_mix_is_refused() -> None:
    with pytest.raises(UsageError, match="short, long, mixed"):
        bodies_of("classify", "intent", "tiny")
