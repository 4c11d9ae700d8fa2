"""What needs no training, scored on the same rows: the first sentences, and TextRank.

The sentences of a dialogue are its turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sumy.nlp.stemmers import Stemmer
from sumy.parsers.plaintext import PlaintextParser
from sumy.summarizers.text_rank import TextRankSummarizer

from training.evaluate import score_summaries, summary_length
from training.recipe import Recipe
from training.rows import Document


class SentencesAsGiven:
    """A tokenizer for sumy that keeps our sentences: its own wants data that must be downloaded."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self._sentences = tuple(sentences)

    def to_sentences(self, text: str) -> tuple[str, ...]:
        return self._sentences

    def to_words(self, sentence: str) -> tuple[str, ...]:
        return tuple(word.strip(".,;:!?()[]\"'") for word in sentence.split() if word.strip())


def baselines(recipe: Recipe, rows: Sequence[Any]) -> dict[str, Any]:
    """The part "baselines" of `metrics.json`, for the kinds that have an untrained way."""
    if recipe.task != "summarize":
        return {}
    counts = [summary_length(row, recipe.summary_sentences) for row in rows]
    leads = [lead(row, count) for row, count in zip(rows, counts, strict=True)]
    ranked = [text_rank(row, count) for row, count in zip(rows, counts, strict=True)]
    found = {
        f"lead_{recipe.summary_sentences or 'k'}": score_summaries(rows, leads).record(),
        "textrank": score_summaries(rows, ranked).record(),
    }
    return {"baselines": found}


def lead(row: Document, count: int) -> str:
    return " ".join(row.sentences[:count])


def text_rank(row: Document, count: int) -> str:
    """TextRank (Mihalcea & Tarau 2004) over the row's own sentences, by sumy."""
    parser = PlaintextParser.from_string(row.text, SentencesAsGiven(row.sentences))
    summarizer = TextRankSummarizer(Stemmer("english"))
    return " ".join(str(sentence) for sentence in summarizer(parser.document, count))
