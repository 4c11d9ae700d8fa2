"""Texts of a given length, made of the sample data of this repository: what servers are asked.

In: `training/samples/`. Out: different texts of exactly so many words, and questions with contexts
of 120 to 150 words. There are twice as many texts as 32 connections of 32 texts have in flight, and
no two lists share one: a server that remembers answers, or computes equal texts that are in flight
only once, gains nothing. Used by `load_tests.peers` and `load_tests.profile_request`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, cycle, islice
from pathlib import Path

from load_tests.samples import FOLDER
from services.errors import UsageError

SHORT_WORDS, LONG_WORDS = 8, 120
LEAST_TEXTS = 2 * 32 * 32
SEED = 0
CONTEXT_WORDS = (120, 150)

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def short_texts(folder: Path = FOLDER) -> list[str]:
    """Runs of exactly 8 words within a sentence or question, many of them a whole one."""
    runs = (
        " ".join(words[first : first + SHORT_WORDS])
        for words in map(str.split, _sentences(folder))
        for first in range(0, len(words) - SHORT_WORDS + 1, SHORT_WORDS)
    )
    return _enough(runs, folder)


def long_texts(folder: Path = FOLDER) -> list[str]:
    """Texts of exactly 120 words: sentences that follow each other, from every one on."""
    words = [sentence.split() for sentence in _sentences(folder)]
    runs = (
        list(islice(chain.from_iterable(words[first : first + LONG_WORDS]), LONG_WORDS))
        for first in range(len(words))
    )
    return _enough((" ".join(run) for run in runs if len(run) == LONG_WORDS), folder)


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
    """Lists of `size` texts that share none; what is left over is left out."""
    return [list(texts[i : i + size]) for i in range(0, len(texts) - size + 1, size)]


def _enough(texts: Iterable[str], folder: Path) -> list[str]:
    """The different ones, shuffled, so that the first few are like all; never too few."""
    found = list(dict.fromkeys(texts))
    if len(found) < LEAST_TEXTS:
        raise UsageError(
            f"{folder} gives {len(found)} texts of the wanted length; "
            f"expected at least {LEAST_TEXTS}.",
            "Restore training/samples from git.",
        )
    random.Random(SEED).shuffle(found)
    return found


def _sentences(folder: Path) -> Iterator[str]:
    """Every sentence and question of the samples, in their order."""
    for line in _lines(folder / "support_tickets.jsonl"):
        yield from _SENTENCE_END.split(str(json.loads(line)["text"]))
    for line in _lines(folder / "incident_reports.jsonl"):
        yield from json.loads(line)["sentences"]
    for article in _articles(folder):
        for paragraph in article["paragraphs"]:
            yield from _SENTENCE_END.split(paragraph["context"])
            yield from (qa["question"] for qa in paragraph["qas"])


def _articles(folder: Path) -> list[dict]:
    return list(json.loads("".join(_lines(folder / "product_manuals.json")))["data"])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error}).", "Run from a checkout of the repository."
        ) from error
