"""Labelled data into one typed row per task: read, check, split.

    splits = load_data(recipe)      # {"train": [...], "dev": [...], "test": [...]}

Formats are in `training.formats`; every bad row is reported with its file, line and reason, all of
them at once. Splits are deterministic: they depend on the rows and the seed, not on their order.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from services.errors import UsageError
from training.formats import Record, read_source
from training.recipe import Recipe, load_recipe

ROOT = Path(__file__).parent.parent
HELD_OUT = 0.1  # share of the rows cut off for dev, and for test, where the data names none


@dataclass(frozen=True)
class LabelledText:
    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """answers: (text, start in code points) pairs; none means: not answerable from the context."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]
    article: str = ""


@dataclass(frozen=True)
class Document:
    """One document in sentences.

    key: indices of the sentences that tell the most (in the data: so, or as 0/1 `marks`)
    references: summaries written by people
    """

    sentences: tuple[str, ...]
    key: tuple[int, ...] = ()
    references: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(self.sentences)

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """[start, end) of each sentence in `text`."""
        bounds, position = [], 0
        for sentence in self.sentences:
            bounds.append((position, position + len(sentence)))
            position += len(sentence) + 1
        return bounds


Row = LabelledText | Question | Document
AnyRow = TypeVar("AnyRow", LabelledText, Question, Document)
Splits = dict[str, list[Any]]


class DataError(UsageError):
    """Rows that cannot be used; the message lists all of them (the first 20 in full)."""

    code = "bad_data"


def load_data(recipe: Recipe) -> Splits:
    """Read the recipe's data and split it; raises DataError or UsageError."""
    if not recipe.data:
        raise UsageError(f"Recipe {recipe.name} names no data.", "Add `data=PATH` or a hub id.")
    parse = PARSERS[recipe.kind]
    faults: list[str] = []
    found: Splits = {}
    for split, records in read_source(recipe).items():
        found[split] = [row for record in records if (row := parse(record, recipe, faults))]
    if faults:
        raise DataError(_list_faults(faults), "Mend these rows; nothing was trained.")
    splits = complete_splits(found, recipe)
    if recipe.kind == "sequence-classification":
        _refuse_unseen_labels(splits, recipe.out_of_scope)
    if recipe.null_ratio:
        splits["train"] = with_null_questions(splits["train"], recipe.null_ratio, recipe.seed)
        splits["dev"] = with_null_questions(splits["dev"], recipe.null_ratio, recipe.seed)
    limits = {"train": recipe.train_rows, "dev": recipe.dev_rows, "test": recipe.test_rows}
    return {split: sample(splits[split], most, recipe.seed) for split, most in limits.items()}


SAMPLES = {
    "sequence-classification": "sample-tickets",
    "question-answering": "sample-manuals",
    "sentence-extraction": "sample-incidents",
}


def sample_rows(kind: str, at_most: int = 120) -> list[Any]:
    """Rows of the sample data that ships: what graphs are verified on."""
    recipe = load_recipe(SAMPLES[kind])
    splits = load_data(replace(recipe, data=str(ROOT / recipe.data)))
    return sample([row for rows in splits.values() for row in rows], at_most, recipe.seed)


def rows_for(kind: str, path: Path, multi_label: bool = False) -> list[Any]:
    """Every row of a labelled file, for scoring a model on data of the user's own.

    Fields are named text and label (labels for several), question/context/answers, or
    sentences/key/references.
    """
    recipe = Recipe(name=path.stem, kind=kind, data=str(path), multi_label=multi_label)
    if not path.exists():
        raise UsageError(f"{path} does not exist.", "Give a labelled file with `--data PATH`.")
    faults: list[str] = []
    rows = [
        row
        for records in read_source(recipe).values()
        for record in records
        if (row := PARSERS[kind](record, recipe, faults))
    ]
    if faults:
        raise DataError(_list_faults(faults), "Mend these rows.")
    return rows


def label_names(rows: Iterable[LabelledText], out_of_scope: str = "") -> list[str]:
    """The classes, sorted, without the one that means "none of these"."""
    return sorted({label for row in rows for label in row.labels} - {out_of_scope})


# Rows


def _text_field(record: Record, name: str, faults: list[str]) -> str | None:
    value = record.fields.get(name)
    if isinstance(value, str) and value.strip():
        return value
    faults.append(f"{record.where}: {name} is {_short(value)}; expected text")
    return None


def parse_labelled(record: Record, recipe: Recipe, faults: list[str]) -> LabelledText | None:
    before = len(faults)
    text = _text_field(record, "text", faults)
    value = record.fields.get("labels", record.fields.get("label"))
    labels: tuple[str, ...]
    if recipe.multi_label:
        parts = value if isinstance(value, list) else str(value or "").split(recipe.label_separator)
        labels = tuple(str(part).strip() for part in parts if str(part).strip())
    else:
        labels = (str(value).strip(),) if value is not None and str(value).strip() else ()
        if not labels:
            faults.append(f"{record.where}: label is {_short(value)}; expected a name")
    if len(faults) > before or text is None:
        return None
    return LabelledText(text, labels)


def parse_question(record: Record, recipe: Recipe, faults: list[str]) -> Question | None:
    before = len(faults)
    question = _text_field(record, "question", faults)
    context = _text_field(record, "context", faults)
    answers = []
    for text, start in _answers(record.fields.get("answers")):
        if context is not None and context[start : start + len(text)] != text:
            faults.append(
                f"{record.where}: answer {_short(text)} is not at character {start} of the context"
            )
        answers.append((text, start))
    if len(faults) > before or question is None or context is None:
        return None
    identity = str(record.fields.get("id") or digest(question + context)[:16])
    article = str(record.fields.get("title") or digest(context)[:16])
    return Question(identity, question.strip(), context, tuple(answers), article)


def _answers(value: Any) -> list[tuple[str, int]]:
    """From SQuAD's list of objects, or the hub's object of lists."""
    if isinstance(value, Mapping):
        return list(zip(value.get("text", []), value.get("answer_start", []), strict=True))
    return [(str(item["text"]), int(item["answer_start"])) for item in value or []]


def parse_document(record: Record, recipe: Recipe, faults: list[str]) -> Document | None:
    sentences = record.fields.get("sentences")
    if sentences is None and isinstance(record.fields.get("text"), str):
        from services.tasks.summarize import split_sentences

        text = record.fields["text"]
        sentences = [text[start:end] for start, end in split_sentences(text)]
    if not isinstance(sentences, list) or not any(str(s).strip() for s in sentences):
        faults.append(f"{record.where}: sentences is {_short(sentences)}; expected a list of texts")
        return None
    marks = record.fields.get("marks") or []
    key = {int(i) for i in record.fields.get("key") or [i for i, mark in enumerate(marks) if mark]}
    if key and max(key) >= len(sentences):
        faults.append(f"{record.where}: key names sentence {max(key)} of {len(sentences)}")
        return None
    references = record.fields.get("references") or []
    references = [references] if isinstance(references, str) else references
    if recipe.kind == "seq2seq" and not references:
        faults.append(f"{record.where}: no reference summary; expected at least one")
        return None
    kept = [i for i, sentence in enumerate(sentences) if str(sentence).strip()]
    return Document(
        tuple(" ".join(str(sentences[i]).split()) for i in kept),
        tuple(new for new, old in enumerate(kept) if old in key),
        tuple(str(reference) for reference in references),
    )


PARSERS: dict[str, Callable[[Record, Recipe, list[str]], Any]] = {
    "sequence-classification": parse_labelled,
    "question-answering": parse_question,
    "sentence-extraction": parse_document,
    "seq2seq": parse_document,
}


# Splits


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
        train, test = hold_out(train, HELD_OUT, recipe.seed, "test")
    dev = found.get("dev")
    if dev is None:
        train, dev = hold_out(train, HELD_OUT, recipe.seed, "dev")
    return {"train": train, "dev": dev, "test": test}


def hold_out(
    rows: Sequence[AnyRow], share: float, seed: int, purpose: str
) -> tuple[list[AnyRow], list[AnyRow]]:
    """(kept, held out): `share` of every label's rows, or of the articles for questions.

    Which rows are held out depends on a hash of their content: other rows and their order do not
    matter, and rows of equal content stay together.
    """
    if isinstance(rows[0], Question):
        return _hold_out_articles(rows, share, f"{seed}/{purpose}")
    strata: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        strata[_stratum(row)].add(_content(row))
    held_contents: set[str] = set()
    for contents in strata.values():
        ordered = sorted(contents, key=lambda content: digest(f"{seed}/{purpose}/{content}"))
        held_contents.update(ordered[: round(share * len(ordered))])
    kept = [row for row in rows if _content(row) not in held_contents]
    return kept, [row for row in rows if _content(row) in held_contents]


def _hold_out_articles(
    rows: Sequence[Question], share: float, salt: str
) -> tuple[list[Question], list[Question]]:
    """At least one article, and one kept, so that small data works too."""
    articles = sorted({row.article for row in rows}, key=lambda name: digest(f"{salt}/{name}"))
    held = set(articles[: min(max(1, round(share * len(articles))), len(articles) - 1)])
    kept = [row for row in rows if row.article not in held]
    return kept, [row for row in rows if row.article in held]


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
    for row in generator.sample(list(rows), min(len(rows), round(ratio * len(rows)))):
        others = [
            context
            for context in by_article[row.article]
            if context != row.context and not any(text in context for text, _ in row.answers)
        ]
        if others and row.answers:
            context = generator.choice(others)
            added.append(Question(f"{row.id}-null", row.question, context, (), row.article))
    return [*rows, *added]


def _stratum(row: Row) -> tuple[str, ...]:
    return row.labels if isinstance(row, LabelledText) else ()


def _content(row: Row) -> str:
    return row.text if isinstance(row, LabelledText | Document) else row.id


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _refuse_unseen_labels(splits: Splits, out_of_scope: str) -> None:
    known = set(label_names(splits["train"]))
    for split in ("dev", "test"):
        counts = Counter(label for row in splits[split] for label in row.labels)
        unseen = sorted(set(counts) - known - {out_of_scope})
        if unseen:
            listed = ", ".join(f"{label!r} ({counts[label]} rows)" for label in unseen[:10])
            raise DataError(
                f"Labels seen only in {split}: {listed}; expected every label in train.",
                "Add training rows for them, or remove them.",
            )


def _list_faults(faults: Sequence[str]) -> str:
    more = f"\n  ... and {len(faults) - 20} more" if len(faults) > 20 else ""
    return f"{len(faults)} bad rows:\n  " + "\n  ".join(faults[:20]) + more + "\n"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
