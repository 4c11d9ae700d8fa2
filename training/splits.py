"""Rows into train, dev and test, and fewer or more of them.

All of it depends on the rows and the seed, not on the rows' order.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from services.errors import UsageError
from training.recipe import Recipe
from training.rows import AnyRow, DataError, Document, LabelledText, Question, Row, Splits, digest

HELD_OUT = 0.1  # share of the rows cut off for dev, and for test, where the data names none


def complete_splits(found: Splits, recipe: Recipe) -> Splits:
    """train, dev and test: as the data names them, cut off from train where it does not."""
    train = found.get("train") or []
    if not train:
        raise UsageError(
            f"{recipe.data} has no training rows (found: {', '.join(found) or 'nothing'}).",
            "Name its splits with `splits: {train: NAME}`.",
        )
    test = found.get("test")
    if test is None:
        train, test = hold_out(train, HELD_OUT, recipe.rows_seed, "test")
    dev = found.get("dev")
    if dev is None:
        train, dev = hold_out(train, HELD_OUT, recipe.rows_seed, "dev")
    splits = {"train": train, "dev": dev, "test": test}
    for name, rows in splits.items():
        if not rows:
            raise DataError(
                f"{recipe.data} leaves no rows for {name} "
                f"(train {len(train)}, dev {len(dev)}, test {len(test)}).",
                "Give more rows (questions: of more articles), or a file for that split.",
            )
    return splits


def hold_out(
    rows: Sequence[AnyRow], share: float, seed: int, purpose: str
) -> tuple[list[AnyRow], list[AnyRow]]:
    """(kept, held out): `share` of every label's rows, or of the articles for questions.

    The order of the rows does not matter, rows of equal content stay together, and a label keeps
    at least one of its rows.
    """
    if isinstance(rows[0], Question):
        return _hold_out_articles(rows, share, f"{seed}/{purpose}")
    strata: dict[tuple[str, ...], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        strata[_stratum(row)][_content(row)] = row
    left = Counter(
        label
        for contents in strata.values()
        for row in contents.values()
        for label in _stratum(row)
    )
    held: set[str] = set()
    seen = 0
    for _, contents in sorted(strata.items()):
        # Rounded over all strata together: with many small ones each alone would round to none.
        wanted = round(share * (seen + len(contents))) - round(share * seen)
        seen += len(contents)
        ordered = sorted(contents, key=lambda content: digest(f"{seed}/{purpose}/{content}"))
        for content in ordered:
            labels = _stratum(contents[content])
            if wanted and all(left[label] > 1 for label in labels):
                held.add(content)
                left.subtract(labels)
                wanted -= 1
    kept = [row for row in rows if _content(row) not in held]
    return kept, [row for row in rows if _content(row) in held]


def _hold_out_articles(
    rows: Sequence[Question], share: float, salt: str
) -> tuple[list[Question], list[Question]]:
    """At least one article, and one kept, so that small data works too."""
    articles = sorted({row.article for row in rows}, key=lambda name: digest(f"{salt}/{name}"))
    held = set(articles[: min(max(1, round(share * len(articles))), len(articles) - 1)])
    kept = [row for row in rows if row.article not in held]
    return kept, [row for row in rows if row.article in held]


def few_examples(rows: Sequence[LabelledText], count: int, seed: int) -> list[LabelledText]:
    """The first `count` rows of each label, in an order that `seed` draws; in their old order.

    Nested: the rows for one example are among those for ten. A row of several labels comes with
    each of them.
    """
    ordered: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for number, row in enumerate(rows):
        place = digest(f"{seed}/examples/{row.text}")
        for label in row.labels:
            ordered[label].append((place, number))
    chosen = {number for places in ordered.values() for _, number in sorted(places)[:count]}
    return [rows[number] for number in sorted(chosen)]


def sample(rows: list[Any], at_most: int, seed: int) -> list[Any]:
    """`at_most` rows drawn by `seed`, in their old order; all of them for 0."""
    if not at_most or at_most >= len(rows):
        return rows
    chosen = sorted(random.Random(seed).sample(range(len(rows)), at_most))
    return [rows[i] for i in chosen]


def with_null_questions(rows: Sequence[Question], ratio: float, seed: int) -> list[Question]:
    """Add `ratio` unanswerable questions per question.

    Each is a real question with another paragraph of the same article that does not hold any of
    its answers, so that the reader learns to look at the content and not at the topic.
    """
    by_article: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.context not in by_article[row.article][-1:]:
            by_article[row.article].append(row.context)
    generator = random.Random(seed)
    added = []
    asked = [row for row in rows if row.answers]
    for row in generator.sample(asked, min(len(asked), round(ratio * len(asked)))):
        texts = [text.casefold() for text, _ in row.answers]
        others = [
            context
            for context in by_article[row.article]
            if context != row.context and not any(text in context.casefold() for text in texts)
        ]
        if others:
            context = generator.choice(others)
            added.append(Question(f"{row.id}-null", row.question, context, (), row.article))
    return [*rows, *added]


def _stratum(row: Row) -> tuple[str, ...]:
    return row.labels if isinstance(row, LabelledText) else ()


def _content(row: Row) -> str:
    return row.text if isinstance(row, LabelledText | Document) else row.id
