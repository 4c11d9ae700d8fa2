"""Articles with questions in, excerpts with their principal sentences out: no summary is needed.

    transfer train principal-sentences data=squad_v1.1

A recipe asks for it by `derive: principal-sentences`. Two judges rank the sentences of an excerpt:
people, by how many of their questions a sentence answers, and the text itself, by how central the
sentence is to it. Where both agree is what the excerpt tells. What the people asked, with their
answers, is the excerpt's reference summary: it covers what they found worth asking, in their words.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from services.centrality import centrality
from services.sentences import split_sentences
from training.rows import Document, Question

WORDS = (80, 480)  # the least and the most that an excerpt aims at: short notes to news articles
LEAST_SENTENCES = 4  # of fewer nothing is to be chosen
SHARE = 0.4  # of an excerpt's sentences that are principal

Paragraph = Sequence[Question]  # all questions about one context


def principal_documents(questions: Sequence[Question]) -> list[Document]:
    """Every article in excerpts of whole paragraphs, each with its principal sentences as key.

    The lengths of the excerpts are drawn by the article's name: the same for the same article.
    """
    found = (
        principal_document(excerpt)
        for name, paragraphs in _articles(questions).items()
        for excerpt in _excerpts(name, paragraphs)
    )
    return [document for document in found if document is not None]


def principal_document(excerpt: Sequence[Paragraph]) -> Document | None:
    """Paragraphs that follow each other; None where they have too few sentences."""
    sentences: list[str] = []
    answered: list[int] = []
    for paragraph in excerpt:
        context = paragraph[0].context
        bounds = split_sentences(context)
        counts = _answers_held([start for start, _ in bounds], paragraph)
        sentences += [" ".join(context[slice(*bound)].split()) for bound in bounds]
        answered += [counts[i] for i in range(len(bounds))]
    if len(sentences) < LEAST_SENTENCES:
        return None
    agreed = rankdata(answered) + rankdata(centrality(sentences))
    asked = [question for paragraph in excerpt for question in paragraph if question.answers]
    reference = " ".join(f"{one.question} {one.answers[0][0]}" for one in asked)
    return Document(tuple(sentences), _highest(agreed), (reference,) if reference else ())


def _articles(questions: Sequence[Question]) -> dict[str, list[list[Question]]]:
    """Name of each article -> its paragraphs in their order."""
    articles: dict[str, dict[str, list[Question]]] = {}
    for question in questions:
        paragraphs = articles.setdefault(question.article, {})
        paragraphs.setdefault(question.context, []).append(question)
    return {name: list(paragraphs.values()) for name, paragraphs in articles.items()}


def _excerpts(name: str, paragraphs: Sequence[Paragraph]) -> Iterator[list[Paragraph]]:
    """Paragraphs until the words drawn for the excerpt are reached; the last one may be shorter."""
    generator = random.Random(name)
    excerpt: list[Paragraph] = []
    words, enough = 0, generator.uniform(*WORDS)
    for paragraph in paragraphs:
        excerpt.append(paragraph)
        words += len(paragraph[0].context.split())
        if words >= enough:
            yield excerpt
            excerpt, words, enough = [], 0, generator.uniform(*WORDS)
    if excerpt:
        yield excerpt


def _answers_held(starts: Sequence[int], paragraph: Paragraph) -> Counter[int]:
    """Sentence -> how many of the questions it answers; starts: of the sentences, ascending."""
    return Counter(
        max(0, bisect_right(starts, question.answers[0][1]) - 1)
        for question in paragraph
        if question.answers
    )


def _highest(ranks: NDArray[np.float64]) -> tuple[int, ...]:
    """The share of the sentences that ranks highest; of equal ones the first."""
    count = max(1, round(SHARE * len(ranks)))
    return tuple(sorted(int(i) for i in np.argsort(-ranks, kind="stable")[:count]))
