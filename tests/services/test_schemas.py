"""Requests: what is taken, what is refused, and with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.schemas import (
    EXAMPLES,
    MAX_ITEMS,
    ROUTES,
    ClassifyRequest,
    CompareRequest,
    HfQaRequest,
    InvalidError,
    MalformedError,
    QaRequest,
    SummarizeRequest,
    decode_request,
)


@pytest.mark.parametrize(
    ("route", "body"), [(route, body) for route, bodies in EXAMPLES.items() for body in bodies]
)
def test_every_example_is_a_request(route: str, body: dict[str, Any]) -> None:
    assert isinstance(decode_request(json.dumps(body).encode(), ROUTES[route]), ROUTES[route])


def test_every_post_route_has_examples() -> None:
    assert set(EXAMPLES) == set(ROUTES)
    assert all(len(bodies) >= 2 for bodies in EXAMPLES.values())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff{}",
        b'{"text": NaN}',
        b'{"text": "a", "threshold": Infinity}',
        b'{"text": "\\u00zz"}',
        b'{"text": "\\ud800", "top_k": NaN}',
    ],
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError, match="The body is not JSON"):
        decode_request(body, ClassifyRequest)


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (ClassifyRequest, {}, "The body: Object missing required field `text`."),
        (ClassifyRequest, [], "The body: Expected `object`, got `array`."),
        (ClassifyRequest, {"text": 1}, "text: Expected `str | array`, got `int`."),
        (ClassifyRequest, {"text": []}, "text: Expected `array` of length >= 1."),
        (ClassifyRequest, {"text": ["a", None]}, "text[1]: Expected `str`, got `null`."),
        (ClassifyRequest, {"text": "a", "top_k": 0}, "top_k: Expected `int` >= 1."),
        (ClassifyRequest, {"text": "a", "top_k": "1"}, "top_k: Expected `int`, got `str`."),
        (ClassifyRequest, {"text": "a", "threshold": 1.5}, "threshold: Expected `float` <= 1.0."),
        (ClassifyRequest, {"text": "a", "labels": []}, "labels: Expected `array` of length >= 1."),
        (ClassifyRequest, {"text": "a", "labels": ["x", "x"]}, "labels holds a name twice."),
        (
            ClassifyRequest,
            {"text": "a", "labels": ["x"], "model": "intent"},
            "labels is answered by the model zeroshot, not by intent.",
        ),
        (
            ClassifyRequest,
            {"text": "a", "nope": 1},
            "The body: Object contains unknown field `nope`.",
        ),
        (
            ClassifyRequest,
            {"text": "a", "long_text": "cut"},
            "long_text: Invalid enum value 'cut'.",
        ),
        (
            ClassifyRequest,
            {"text": ["a"] * (MAX_ITEMS + 1)},
            f"text: Expected `array` of length <= {MAX_ITEMS}.",
        ),
        (
            QaRequest,
            {"question": ["a", "b"], "context": ["c"], "paired": True},
            "paired has 2 questions and 1 contexts.",
        ),
        (
            QaRequest,
            {"question": "a", "context": ["c"], "paired": True},
            "paired takes a list for question and a list for context.",
        ),
        (
            SummarizeRequest,
            {"text": ["a"], "stream": True},
            "stream takes one text, not a list.",
        ),
        (
            SummarizeRequest,
            {"text": "a", "generation": {"length_penalty": -1.5}},
            "generation.length_penalty: Expected `float` >= -1.0.",
        ),
        (
            CompareRequest,
            {"task": "qa", "input": {"question": "a", "context": 1}},
            "input.context: Expected `str | array`, got `int`.",
        ),
        (
            CompareRequest,
            {"task": "classify", "input": {"text": "a", "variant": "full"}},
            "input.variant has no place in a comparison.",
        ),
        (
            CompareRequest,
            {"task": "classify", "input": {"text": "a"}, "variants": ["full", "full"]},
            "variants holds a name twice.",
        ),
        (CompareRequest, {"task": "speak", "input": {}}, "task: Invalid enum value 'speak'."),
        (
            HfQaRequest,
            {"inputs": {"question": "a", "context": "b"}, "parameters": {"doc_stride": 4}},
            "parameters: Object contains unknown field `doc_stride`.",
        ),
    ],
)
def test_what_does_not_fit_is_named(kind: Any, body: Any, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        decode_request(json.dumps(body).encode(), kind)
    assert caught.value.message == message
    assert caught.value.status == 422


def test_half_a_surrogate_pair_is_a_fault_of_the_text_not_of_the_body() -> None:
    request = decode_request(b'{"text": ["fine", "half \\ud83d"]}', ClassifyRequest)
    assert request.text == ["fine", "half \ud83d"]


def test_a_deep_body_is_refused_without_a_crash() -> None:
    deep = b'{"task":"qa","input":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001
    with pytest.raises((MalformedError, InvalidError)):
        decode_request(deep, CompareRequest)


def test_at_every_depth_around_the_limit_a_body_is_refused() -> None:
    """msgspec reads a few levels more than `json`, which looks for fields that are there twice."""
    for depth in range(850, 1001):
        nested = b"[" * depth + b"]" * depth
        body = b'{"task":"qa","input":{"a":' + nested + b',"b":"\\u0041"}}'
        with pytest.raises((MalformedError, InvalidError)):
            decode_request(body, CompareRequest)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (ClassifyRequest, b'{"text": "a", "text": "b"}'),
        (ClassifyRequest, b'{"text": "a", "text"\n\t : "b"}'),
        (ClassifyRequest, b'{"text": "a", "te\\u0078t": "b"}'),
        (ClassifyRequest, b'{"text": "\\ud800", "text": "b"}'),
        (SummarizeRequest, b'{"text": "a", "generation": {"num_beams": 1, "num_beams": 2}}'),
        (CompareRequest, b'{"task": "classify", "input": {"text": "a", "text": "b"}}'),
        (CompareRequest, b'{"task": "qa", "input": {}, "task": "classify"}'),
    ],
)
def test_a_field_that_is_named_twice_is_refused(kind: type[Any], body: bytes) -> None:
    with pytest.raises(MalformedError, match="twice in one object"):
        decode_request(body, kind)


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "text", "labels": ["text", "model"]}',
        b'{"text": "he said \\"text\\": \\"text\\" twice"}',
        b'{"text": "caf\\u00e9 \\"text\\""}',
    ],
)
def test_texts_that_look_like_fields_are_texts(body: bytes) -> None:
    assert decode_request(body, ClassifyRequest).text == json.loads(body)["text"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (ClassifyRequest, b'{"text": "a", "top_k": 3.0}'),
        (CompareRequest, b'{"task": "classify", "input": {"text": "a", "top_k": 3e0}}'),
        (SummarizeRequest, b'{"text": "a", "generation": {"num_beams": 2.0}}'),
    ],
)
def test_a_whole_number_may_be_written_with_a_point(kind: type[Any], body: bytes) -> None:
    """JSON has one type of number; JSON Schema takes 3.0 for an integer."""
    decode_request(body, kind)


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "a", "top_k": 3.5}',
        b'{"text": "a", "top_k": 1e300}',
        b'{"text": 3.0}',
        b'{"text": "a", "top_k": 0.0}',
    ],
)
def test_other_numbers_stay_wrong(body: bytes) -> None:
    with pytest.raises(InvalidError):
        decode_request(body, ClassifyRequest)


def test_a_field_that_is_named_twice_is_refused_with_such_numbers_too() -> None:
    with pytest.raises(MalformedError, match="twice"):
        decode_request(b'{"text": "a", "top_k": 3.0, "top_k": 2.0}', ClassifyRequest)
