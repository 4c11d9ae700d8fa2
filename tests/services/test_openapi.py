"""Our OpenAPI document: valid, whole, and its examples are answered by the live service."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate

from services.openapi import document
from services.schemas import ROUTES


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return document()


def test_the_document_is_valid_openapi(spec: dict[str, Any]) -> None:
    validate(spec)


def test_every_route_is_in_it(spec: dict[str, Any]) -> None:
    pages = {"/", "/docs", "/docs.json", "/livez", "/readyz", "/metrics", "/models"}
    assert set(spec["paths"]) == set(ROUTES) | pages


def test_operation_ids_are_unique(spec: dict[str, Any]) -> None:
    names = [one["operationId"] for path in spec["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))


def examples() -> list[tuple[str, str]]:
    content = {route: path["post"] for route, path in document()["paths"].items() if "post" in path}
    return [
        (route, name)
        for route, operation in content.items()
        for name in operation["requestBody"]["content"]["application/json"]["examples"]
    ]


@pytest.mark.parametrize(("route", "name"), examples())
def test_every_example_is_answered_as_the_document_says(
    client: httpx.Client, route: str, name: str
) -> None:
    spec = client.get("/docs.json").json()
    operation = spec["paths"][route]["post"]
    request = operation["requestBody"]["content"]["application/json"]
    body = request["examples"][name]["value"]
    check(spec, request["schema"], body)
    response = client.post(route, json=body)
    assert response.status_code == 200, response.text
    if not body.get("stream"):
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        check(spec, answer, response.json())


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/classify", {"text": " "}),
        ("/classify", {"text": "a", "labels": ["b", "b"]}),
        ("/classify", {"text": "a", "labels": ["b"], "model": "intent"}),
        ("/classify", {"text": "a", "model": "zeroshot"}),
        ("/qa", {"question": "a", "context": ["b"], "paired": True}),
        ("/summarize", {"text": ["a"], "stream": True}),
        ("/compare", {"task": "classify", "input": {"text": "a", "variant": "full"}}),
        ("/compare", {"task": "summarize", "input": {"text": "a", "stream": True}}),
        ("/compare", {"task": "qa", "input": {"text": "a"}}),
        ("/compare", {"task": "classify", "input": {"text": "a"}, "variants": ["full", "full"]}),
        ("/hf/question-answering", {"inputs": {"question": " ", "context": "a"}}),
    ],
)
def test_fields_that_do_not_go_together_are_refused_by_document_and_service(
    client: httpx.Client, spec: dict[str, Any], route: str, body: dict[str, Any]
) -> None:
    request = spec["paths"][route]["post"]["requestBody"]["content"]["application/json"]
    with pytest.raises(jsonschema.ValidationError):
        check(spec, request["schema"], body)
    assert client.post(route, json=body).status_code == 422


def test_the_other_answers_are_as_the_document_says(client: httpx.Client) -> None:
    spec = client.get("/docs.json").json()
    check(spec, {"$ref": "#/components/schemas/ModelsAnswer"}, client.get("/models").json())
    refused = client.post("/qa", json={}).json()
    check(spec, {"$ref": "#/components/schemas/ErrorAnswer"}, refused)


def check(spec: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": spec["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)
