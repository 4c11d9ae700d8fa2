"""Answers in process, without HTTP: what `transfer predict TASK` does with each line of stdin.

A line is a plain text (for qa: a context) or a JSON body of the task's route.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.engine import model_of
from services.errors import ContentError, UsageError
from services.items import items_of
from services.lock import default_variant, read_lock
from services.providers import limit_gpu_memory
from services.registry import variant_path
from services.runtime import Runtime
from services.schemas import (
    ClassifyRequest,
    QaRequest,
    SummarizeRequest,
    TaskRequest,
    convert_request,
)
from services.settings import Settings

REQUESTS: dict[str, Any] = {
    "classify": ClassifyRequest,
    "qa": QaRequest,
    "summarize": SummarizeRequest,
}
FIELD = {"classify": "text", "qa": "context", "summarize": "text"}


def predict_lines(
    task: str, lines: Iterable[str], settings: Settings, **choices: str
) -> Iterator[dict[str, Any]]:
    """One answer for each line that is not blank: {"results": [...]}, or {"error": {...}}.

    choices: model, variant, question; empty ones mean the defaults
    """
    runtimes: dict[str, Runtime] = {}
    for line in lines:
        if line.strip():
            request = request_of(task, line.rstrip("\n"), choices)
            runtime = _runtime(request, settings, runtimes)
            items, _ = items_of(request, runtime)
            yield {
                "model": runtime.manifest.model,
                "variant": runtime.manifest.variant,
                "results": [_answer(item, runtime) for item in items],
            }


def request_of(task: str, line: str, choices: Mapping[str, str]) -> TaskRequest:
    """The request that a line stands for; raises UsageError for a qa text without a question."""
    body = _body(line) if line.lstrip().startswith("{") else {FIELD[task]: line}
    for name in ("model", "variant", "question"):
        if choices.get(name) and (name != "question" or task == "qa"):
            body.setdefault(name, choices[name])
    if task == "qa" and "question" not in body:
        raise UsageError(
            "A context without a question.", "Add --question TEXT, or send JSON lines."
        )
    request: TaskRequest = convert_request(body, REQUESTS[task])
    return request


def _body(line: str) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"A line is not JSON: {error}.", "Send a text or a JSON body.") from error
    return body


def _runtime(request: TaskRequest, settings: Settings, loaded: dict[str, Runtime]) -> Runtime:
    """The variant that the request means, loaded once."""
    lock, model = read_lock(settings.lock), model_of(request)
    variants = [key.split("/")[1] for key in lock if key.split("/")[0] == model]
    if not variants:
        known = ", ".join(sorted({key.split("/")[0] for key in lock}))
        raise UsageError(f"No model {model!r} is published.", f"There are {known}.")
    variant = request.variant or default_variant(model, variants)
    key = f"{model}/{variant}"
    if key not in lock:
        raise UsageError(
            f"{model} has no variant {variant!r}.", f"There are {', '.join(variants)}."
        )
    if key not in loaded:
        limit_gpu_memory(settings.gpu_memory_mb)
        loaded[key] = Runtime.load(variant_path(lock[key]), settings.provider)
    return loaded[key]


def _answer(item: Any, runtime: Runtime) -> dict[str, Any]:
    try:
        encoded = item.encode()
    except ContentError as error:
        return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    answer: dict[str, Any] = item.decode(encoded, runtime.infer(encoded.windows))
    return answer
