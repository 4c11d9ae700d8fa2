"""Length mixes: the texts of the load tests, short, long, and as both come together.

In: a task and a model. Out: request bodies of one text each (`bodies_of`), or of several
(`grouped`). They are made of the sample data of this repository and all differ, because the service
computes equal texts that are in flight only once.

    short   8 words; questions about one paragraph; a report of a few sentences
    long    120 words; questions about 240 to 300 words; four reports in one
    mixed   three short ones to one long one, in a seeded order
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

from load_tests.samples import sample_items
from load_tests.texts import long_texts, questions_with_contexts, short_texts
from services.errors import UsageError

Body = dict[str, Any]

SHORT, LONG, MIXED = "short", "long", "mixed"
MIXES = (SHORT, LONG, MIXED)
SHORT_TO_LONG = 3
JOINED = 4  # reports in a long one
MOST = 600


def bodies_of(
    task: str, model: str, mix: str, *, labels: Sequence[str] | None = None, seed: int = 0
) -> list[Body]:
    """At most 600 bodies of one text each; the same for the same seed.

    labels: label names for a model that wants them with the request (zero-shot)
    """
    if mix not in MIXES:
        raise UsageError(f"The mix is {mix!r}; expected {', '.join(MIXES)}.")
    found = _mixed(task, seed) if mix == MIXED else MAKERS[task][mix]()[:MOST]
    extra: Body = {"labels": list(labels)} if labels else {}
    return [{**body, "model": model, **extra} for body in found]


def _mixed(task: str, seed: int) -> list[Body]:
    long = MAKERS[task][LONG]()[: MOST // (1 + SHORT_TO_LONG)]
    found = MAKERS[task][SHORT]()[: SHORT_TO_LONG * len(long)] + long
    random.Random(seed).shuffle(found)
    return found


def grouped(task: str, bodies: Sequence[Body], texts: int) -> list[Body]:
    """Bodies of `texts` texts each; for questions these are pairs with their contexts.

    Fewer bodies than that are repeated until they are one group.
    """
    if texts == 1:
        return list(bodies)
    if len(bodies) < texts:
        bodies = list(itertools.islice(itertools.cycle(bodies), texts))
    fields = ("question", "context") if task == "qa" else ("text",)
    groups = [bodies[i : i + texts] for i in range(0, len(bodies) - texts + 1, texts)]
    paired: Body = {"paired": True} if task == "qa" else {}
    return [
        {**group[0], **{name: [body[name] for body in group] for name in fields}, **paired}
        for group in groups
    ]


def words_of(bodies: Sequence[Body]) -> Body:
    """How many texts these are, and how long in words."""
    words = sorted(
        len(f"{body.get('question', '')} {body.get('context', body.get('text'))}".split())
        for body in bodies
    )
    return {"n": len(words), "min_words": words[0], "max_words": words[-1]}


def _texts(texts: Sequence[str]) -> list[Body]:
    return [{"text": text} for text in texts]


def _questions() -> list[Body]:
    """The second half of a context comes from elsewhere and does not answer."""
    pairs = questions_with_contexts()
    contexts = [context for _, context in pairs]
    others = contexts[len(contexts) // 2 :] + contexts
    return [
        {"question": question, "context": f"{context} {other}"}
        for (question, context), other in zip(pairs, others, strict=False)
    ]


def _without_model(task: str) -> list[Body]:
    """The samples as they are: paragraphs with their questions, reports."""
    bodies = sample_items(task, "", limit=MOST)
    return [{name: body[name] for name in body if name != "model"} for body in bodies]


def _joined_reports() -> list[Body]:
    texts = [body["text"] for body in _without_model("summarize")]
    turns = [texts[i:] + texts[:i] for i in range(JOINED)]
    return _texts([" ".join(parts) for parts in zip(*turns, strict=True)])


MAKERS: dict[str, dict[str, Callable[[], list[Body]]]] = {
    "classify": {
        SHORT: lambda: _texts(short_texts()),
        LONG: lambda: _texts(long_texts()),
    },
    "qa": {SHORT: lambda: _without_model("qa"), LONG: _questions},
    "summarize": {SHORT: lambda: _without_model("summarize"), LONG: _joined_reports},
}
