"""Texts that the teacher alone teaches: from a file whose labels are ignored, or made of the rows.

    unlabelled_texts(recipe, splits)     # recipe key `unlabelled: PATH` or `unlabelled: derived`

A text of the dev or test rows is left out: nothing may be learned from what judges.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from services.errors import UsageError
from training.formats import read_source
from training.recipe import Recipe
from training.rows import Splits

DERIVED = "derived"
KEPT_WORDS = 0.8  # of a derived text, each word with that chance
CUT = 0.25  # of the derived texts, that are a run of neighbouring words


def unlabelled_texts(recipe: Recipe, splits: Splits) -> list[str]:
    """Different texts in their order; raises UsageError where none is left."""
    if recipe.unlabelled == DERIVED:
        texts = derived_texts([row.text for row in splits["train"]], recipe.rows_seed)
    else:
        texts = read_texts(recipe.unlabelled)
    judging = {_key(row.text) for split in ("dev", "test") for row in splits[split]}
    known = judging | {_key(row.text) for row in splits["train"]}
    fresh = {_key(text): text for text in texts}
    found = [text for key, text in fresh.items() if key and key not in known]
    if not found:
        raise UsageError(
            f"unlabelled={recipe.unlabelled} has no text besides those of the data.",
            "Name a file with other texts in a column `text`, or leave `unlabelled` out.",
        )
    return found


def read_texts(source: str) -> list[str]:
    """The field `text` of a file's training rows (all rows of a file without splits)."""
    # Of all kinds this one asks for nothing but a text.
    reading = Recipe(name=Path(source).stem, kind="sentence-extraction", data=source)
    values = [record.fields.get("text") for record in read_source(reading).get("train", [])]
    texts = [value for value in values if isinstance(value, str)]
    if not texts:
        raise UsageError(
            f"unlabelled={source} has no field `text`.",
            "Give JSONL or CSV with a column of that name, or `unlabelled=derived`.",
        )
    return texts


def derived_texts(texts: Sequence[str], seed: int) -> list[str]:
    """One damaged copy of each text, by rules alone (after Tang et al. 2019, section 3.2).

    A quarter keeps a run of neighbouring words, the others lose a fifth of their words.
    """
    generator = random.Random(seed)
    return [_damaged(text.split(), generator) for text in texts]


def _damaged(words: list[str], generator: random.Random) -> str:
    if generator.random() < CUT:
        length = generator.randint(1, min(5, len(words)))
        start = generator.randint(0, len(words) - length)
        return " ".join(words[start : start + length])
    kept = [word for word in words if generator.random() < KEPT_WORDS]
    return " ".join(kept or words[:1])


def _key(text: str) -> str:
    return " ".join(text.casefold().split())
