"""Texts of a given length, made of the sample data of this repository: what servers are asked.

In: `training/samples/`. Out: at least 100 different texts of exactly so many words, and questions
with contexts of 120 to 150 words. A cycle of different texts, so that a server that remembers its
last answers or merges equal requests gains nothing. Used by `load_tests.peers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from load_tests.samples import FOLDER
from services.errors import UsageError

SHORT_WORDS, LONG_WORDS = 8, 120
LEAST_TEXTS = 100
CONTEXT_WORDS = (120, 150)

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def short_texts(folder: Path = FOLDER) -> list[str]:
    """Sentences and questions of exactly 8 words; as long as most of what an intent model reads."""
    found = dict.fromkeys(
        text
        for text in (*_sentences(folder), *(question for question, _ in _questions(folder)))
        if len(text.split()) == SHORT_WORDS
    )
    return _enough(list(found), folder)


def long_texts(folder: Path = FOLDER) -> list[str]:
    """Texts of exactly 120 words: sentences of the reports, each text beginning at another one."""
    words = [sentence.split() for sentence in dict.fromkeys(_report_sentences(folder))]
    texts = [
        " ".join(islice((word for sentence in words[first:] for word in sentence), LONG_WORDS))
        for first in range(0, len(words), 4)
    ]
    return _enough([text for text in texts if len(text.split()) == LONG_WORDS], folder)


def questions_with_contexts(folder: Path = FOLDER) -> list[tuple[str, str]]:
    """(question, context) with contexts of 120 to 150 words, which is what SQuAD's are like.

    A paragraph of a manual, and words of the next one until it is long enough.
    """
    found = []
    for article in _articles(folder):
        paragraphs = article["paragraphs"]
        for index, paragraph in enumerate(paragraphs):
            following = paragraphs[(index + 1) % len(paragraphs)]["context"].split()
            context = paragraph["context"]
            missing = CONTEXT_WORDS[0] + 10 - len(context.split())
            if missing > 0:
                context = f"{context} {' '.join(following[:missing])}"
            found += [(qa["question"], context) for qa in paragraph["qas"]]
    return found


def long_context(characters: int, folder: Path = FOLDER) -> str:
    """One document of exactly so many characters: all manuals, over and over."""
    contexts = [p["context"] for article in _articles(folder) for p in article["paragraphs"]]
    parts: list[str] = []
    size = 0
    for context in cycle(contexts):
        parts.append(context)
        size += len(context) + 1
        if size >= characters:
            break
    return " ".join(parts)[:characters]


def squad_questions(path: Path, limit: int = 500) -> list[tuple[str, str]]:
    """(question, context) of a SQuAD file, spread evenly over it."""
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        found = [
            (qa["question"], paragraph["context"])
            for article in articles
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not a readable SQuAD file ({error!r}).",
            "Give a JSON file in SQuAD's format, e.g. dev-v1.1.json.",
        ) from error
    return found[:: max(1, len(found) // limit)][:limit]


def groups(texts: Sequence[str], size: int) -> list[list[str]]:
    """As many lists of `size` texts as there are texts, each beginning at another one."""
    doubled = [*texts, *texts]
    return [doubled[first : first + size] for first in range(len(texts))]


def _enough(texts: list[str], folder: Path) -> list[str]:
    if len(texts) < LEAST_TEXTS:
        raise UsageError(
            f"{folder} gives {len(texts)} texts of the wanted length; "
            f"expected at least {LEAST_TEXTS}.",
            "Restore training/samples from git.",
        )
    return texts


def _sentences(folder: Path) -> Iterator[str]:
    for line in _lines(folder / "support_tickets.jsonl"):
        yield from _SENTENCE_END.split(str(json.loads(line)["text"]))
    yield from _report_sentences(folder)


def _report_sentences(folder: Path) -> Iterator[str]:
    for line in _lines(folder / "incident_reports.jsonl"):
        yield from json.loads(line)["sentences"]


def _questions(folder: Path) -> Iterator[tuple[str, str]]:
    for article in _articles(folder):
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                yield qa["question"], paragraph["context"]


def _articles(folder: Path) -> list[dict]:
    return list(json.loads("".join(_lines(folder / "product_manuals.json")))["data"])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error}).", "Run from a checkout of the repository."
        ) from error
