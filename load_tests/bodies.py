"""The requests of the load tests: the examples of the API itself.

In: `services.examples.EXAMPLES`. Out: request bodies by route, as published (`examples`, what the
locustfile sends by default), or cut into one text each and addressed to one model (`items`, used by
`load_tests.peers`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.errors import UsageError
from services.examples import EXAMPLES

Body = dict[str, Any]

ROUTES = {"classify": "/classify", "qa": "/qa", "summarize": "/summarize"}
# For examples that leave a zero-shot model without label names.
FALLBACK_LABELS = ["billing", "delivery", "technical problem", "praise"]


def examples(task: str) -> list[Body]:
    """The request bodies that the API documents for a task, without those that ask for a stream."""
    return [dict(body) for body in EXAMPLES[ROUTES[task]] if not body.get("stream")]


def items(task: str, model: str, *, labels: list[str] | None = None) -> list[Body]:
    """One body for each text of the examples; the same for all variants of `model`.

    labels: label names for a model that wants them with the request (zero-shot).
    """
    cut = {"classify": _texts, "qa": _questions, "summarize": _texts}[task]
    found: dict[str, Body] = {}
    for body in examples(task):
        for item in cut(body):
            found.setdefault(repr(sorted(item.items())), item)
    if not found:
        raise UsageError(f"{ROUTES[task]} has no example; expected at least one.")
    extra = {"labels": labels} if labels else {}
    return [{**item, "model": model, **extra} for item in found.values()]


def zero_shot_labels() -> list[str]:
    """Label names of the first example that has some."""
    for body in examples("classify"):
        if body.get("labels"):
            return list(body["labels"])
    return FALLBACK_LABELS


def _texts(body: Body) -> Iterator[Body]:
    yield from ({"text": text} for text in _many(body["text"]))


def _questions(body: Body) -> Iterator[Body]:
    questions, contexts = _many(body["question"]), _many(body["context"])
    if body.get("paired"):
        pairs = list(zip(questions, contexts, strict=True))
    else:
        pairs = [(question, context) for question in questions for context in contexts]
    yield from ({"question": question, "context": context} for question, context in pairs)


def _many(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
