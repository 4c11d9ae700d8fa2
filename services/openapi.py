"""Our OpenAPI 3.1 document: schemas from the request and answer types, examples that really work.

Served at `GET /docs.json`; BentoML's own document knows neither our errors nor our routes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from services import answers
from services.examples import EXAMPLES
from services.openapi_rules import with_rules
from services.schemas import MILLISECONDS, ROUTES

VERSION = "1"
REF = "#/components/schemas/{name}"

RESULTS = {
    "/classify": "ClassifyResult",
    "/qa": "QaResult",
    "/summarize": "SummarizeResult",
}
SUMMARIES = {
    "/classify": "Label texts",
    "/qa": "Answer questions from documents",
    "/summarize": "Summarize texts",
    "/compare": "Compare the variants of a model on one input",
    "/hf/text-classification": "Label texts, Hugging Face's way",
    "/hf/question-answering": "Answer a question, Hugging Face's way",
    "/hf/summarization": "Summarize texts, Hugging Face's way",
}
ERRORS = {
    400: "The body is not JSON",
    401: "No valid API key, where the service has keys",
    404: "An unknown model or variant",
    405: "Another method than POST",
    408: "The header or the body arrives too slowly",
    413: "The body is too large",
    415: "Another content type than application/json",
    422: "Not what the route takes, or text that no model can read",
    429: "Too much is waiting, or this key has used up its tokens; see Retry-After",
    431: "The header is larger than 64 KiB",
    503: "The models are being loaded; see Retry-After",
    504: "It took too long",
}
PAGES = {
    "/models": ("The variants that are loaded or published", "application/json", "ModelsAnswer"),
    "/livez": ("Whether the process lives", "application/json", "Status"),
    "/readyz": ("Whether every variant is loaded and warm", "application/json", "Status"),
    "/metrics": ("Prometheus metrics", "text/plain", None),
    "/docs.json": ("This document", "application/json", "OpenApiDocument"),
    "/docs": ("This document, to read and to try", "text/html", None),
    "/": ("The playground", "text/html", None),
}


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Transfer",
            "version": VERSION,
            "description": "Fine-tuned and distilled language models over REST.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            **{route: {"post": _post(route)} for route in ROUTES},
            **{route: {"get": _get(route)} for route in PAGES},
        },
        "security": [{}, {"key": []}],
        "components": {
            "schemas": _schemas(),
            "headers": _headers(),
            "parameters": _parameters(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _post(route: str) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": _success(route)}
    for status, description in ERRORS.items():
        responses[str(status)] = _error(description, retry=status in (429, 503))
    return {
        "operationId": route.strip("/").replace("/", "_").replace("-", "_"),
        "summary": SUMMARIES[route],
        "parameters": [_parameter("RequestId"), _parameter("RequestTimeout")],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref(ROUTES[route].__name__),
                    "examples": {
                        f"example {number}": {"value": body}
                        for number, body in enumerate(EXAMPLES[route], 1)
                    },
                }
            },
        },
        "responses": responses,
    }


def _success(route: str) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _answer_schema(route)}}
    if route == "/summarize":
        content["text/event-stream"] = {"schema": _ref("SummaryEvent")}
    return {"description": "The answer", "headers": _sent_headers(), "content": content}


def _answer_schema(route: str) -> dict[str, Any]:
    if route in RESULTS:
        return _ref(_answer_name(route))
    if route == "/compare":
        return _ref("CompareAnswer")
    if route == "/hf/text-classification":
        return _list(_list(_ref("HfLabel")))
    if route == "/hf/question-answering":
        return {"oneOf": [_ref("HfAnswer"), _list(_ref("HfAnswer"))]}
    return _list(_ref("HfSummary"))


def _get(route: str) -> dict[str, Any]:
    summary, kind, schema = PAGES[route]
    content = {kind: {"schema": _ref(schema) if schema else {"type": "string"}}}
    responses: dict[str, Any] = {
        "200": {"description": summary, "headers": _sent_headers(), "content": content}
    }
    if route in ("/readyz", "/models"):
        responses["503"] = _error(ERRORS[503], retry=True)
    if route in ("/metrics", "/models"):
        responses["401"] = _error(ERRORS[401], retry=False)
    if route == "/metrics":
        responses["404"] = _error("They have a port of their own", retry=False)
    if route in ("/", "/docs"):
        responses["304"] = {"description": "What If-None-Match names is what it is"}
    responses["405"] = _error("Another method than GET or HEAD", retry=False)
    name = route.strip("/").replace(".", "_") or "index"
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [_parameter("RequestId")],
        "responses": responses,
    }


def _error(description: str, retry: bool) -> dict[str, Any]:
    headers = _sent_headers()
    if retry:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    content = {"application/json": {"schema": _ref("ErrorAnswer")}}
    return {"description": description, "headers": headers, "content": content}


def _schemas() -> dict[str, Any]:
    types: list[Any] = [
        *ROUTES.values(),
        answers.ErrorAnswer,
        answers.ClassifyResult,
        answers.QaResult,
        answers.SummarizeResult,
        answers.CompareAnswer,
        answers.ModelsAnswer,
        answers.HfLabel,
        answers.HfAnswer,
        answers.HfSummary,
    ]
    _, components = msgspec.json.schema_components(types, ref_template=REF)
    schemas: dict[str, Any] = with_rules(components, REF)
    for route in RESULTS:
        schemas[_answer_name(route)] = _envelope(RESULTS[route])
    status = {"status": {"type": "string"}}
    schemas["Status"] = {"type": "object", "properties": status, "required": ["status"]}
    schemas["OpenApiDocument"] = {"type": "object"}
    schemas["SummaryEvent"] = _event()
    return schemas


def _event() -> dict[str, Any]:
    """One of the events of a stream."""
    properties = {
        "event": {"enum": ["sentence", "token", "result", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    }
    return {
        "type": "object",
        "description": "One server-sent event; its data is JSON.",
        "properties": properties,
        "required": list(properties),
    }


def _envelope(result: str) -> dict[str, Any]:
    """What every answer of a task carries."""
    properties = {
        "model": {"type": "string"},
        "variant": {"type": "string"},
        "results": _list({"anyOf": [_ref(result), _ref("ErrorAnswer")]}),
        "usage": _ref("Usage"),
    }
    return {
        "type": "object",
        "description": "One result for every item, in order.",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _headers() -> dict[str, Any]:
    return {
        "RequestId": {
            "description": "The caller's X-Request-Id, else a new one",
            "schema": {"type": "string"},
        },
        "ServerTiming": {
            "description": "Milliseconds: queue, tokenize, infer, decode, total",
            "schema": {"type": "string"},
        },
        "RetryAfter": {"description": "Seconds to wait", "schema": {"type": "integer"}},
    }


def _parameters() -> dict[str, Any]:
    return {
        "RequestId": {
            "name": "X-Request-Id",
            "in": "header",
            "description": "An id of yours, which the answer and the log then carry",
            "schema": {"type": "string"},
        },
        "RequestTimeout": {
            "name": "X-Request-Timeout-Ms",
            "in": "header",
            "description": "When the answer is of no more use to you",
            "schema": {"type": "string", "pattern": f"^{MILLISECONDS}$"},
        },
    }


def _parameter(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/parameters/{name}"}


def _sent_headers() -> dict[str, Any]:
    return {
        "X-Request-Id": {"$ref": "#/components/headers/RequestId"},
        "Server-Timing": {"$ref": "#/components/headers/ServerTiming"},
    }


def _answer_name(route: str) -> str:
    return RESULTS[route].replace("Result", "Answer")


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": REF.format(name=name)}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}
