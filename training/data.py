"""Labelled data into one typed row per task: read, check, split.

    splits = load_data(recipe)      # {"train": [...], "dev": [...], "test": [...]}

Formats are in `training.formats`; every bad row is reported with its file, line and reason, all of
them at once. Splits cut off here depend on the rows and the seed, not on the rows' order.
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
from training.recipe import Recipe, extra_recipe, load_recipe

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
    summary_sentences: of its summary when a summarizer is evaluated (0: as the recipe says)
    """

    sentences: tuple[str, ...]
    key: tuple[int, ...] = ()
    references: tuple[str, ...] = ()
    summary_sentences: int = 0

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
    """Read the recipe's data and split it; raises DataError or UsageError.

    The training and dev rows of its `extra_data` stand behind its own; the test rows are its own.
    """
    splits = _own_splits(recipe)
    for name in recipe.extra_data:
        extra = _extra_splits(name, recipe)
        for split in ("train", "dev"):
            splits[split] = [*splits[split], *extra[split]]
    return splits


def _extra_splits(name: str, recipe: Recipe) -> Splits:
    """The rows of one more data set, each with the summary length that its own recipe gives it."""
    extra = extra_recipe(recipe, name)
    try:
        splits = _own_splits(extra)
    except UsageError as error:
        raise type(error)(
            f"extra_data of recipe {recipe.name}: {error.message}",
            f"Say where it lies, `extra_data={{{name}: PATH}}`, or do without: `extra_data={{}}`.",
        ) from error
    if recipe.kind != "sentence-extraction":
        return splits
    return {
        split: [replace(row, summary_sentences=_length(row, extra)) for row in rows]
        for split, rows in splits.items()
    }


def _length(row: Document, recipe: Recipe) -> int:
    return recipe.summary_sentences or max(1, len(row.key))


def _own_splits(recipe: Recipe) -> Splits:
    if not recipe.data:
        raise UsageError(f"Recipe {recipe.name} names no data.", "Add `data=PATH` or a hub id.")
    faults: list[str] = []
    found = {
        split: parse_all(records, recipe, faults) for split, records in read_source(recipe).items()
    }
    if faults:
        raise DataError(list_faults(faults), "Mend these rows; nothing was trained.")
    splits = complete_splits(found, recipe)
    if recipe.derive:
        from training.principal import principal_documents

        splits = {split: principal_documents(rows) for split, rows in splits.items()}
    if recipe.kind == "sequence-classification":
        _refuse_unseen_labels(splits, recipe.out_of_scope)
    _refuse_nothing_to_learn(splits["train"], recipe)
    if recipe.null_ratio:
        splits["train"] = with_null_questions(splits["train"], recipe.null_ratio, recipe.rows_seed)
        splits["dev"] = with_null_questions(splits["dev"], recipe.null_ratio, recipe.rows_seed)
    if recipe.examples_per_class:
        few = few_examples(splits["train"], recipe.examples_per_class, recipe.rows_seed)
        splits["train"] = few
    limits = {"train": recipe.train_rows, "dev": recipe.dev_rows, "test": recipe.test_rows}
    return {split: sample(splits[split], most, recipe.rows_seed) for split, most in limits.items()}


SAMPLES = {
    "sequence-classification": "sample-tickets",
    "question-answering": "sample-manuals",
    "sentence-extraction": "sample-incidents",
    "seq2seq": "sample-headlines",
}


def sample_rows(kind: str, at_most: int = 120) -> list[Any]:
    """Rows of the sample data that ships: what graphs are verified on."""
    recipe = load_recipe(SAMPLES[kind])
    splits = load_data(replace(recipe, data=str(ROOT / recipe.data)))
    return sample([row for rows in splits.values() for row in rows], at_most, recipe.rows_seed)


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
        for row in parse_all(records, recipe, faults)
    ]
    if faults:
        raise DataError(list_faults(faults), "Mend these rows.")
    return rows


def label_names(rows: Iterable[LabelledText], out_of_scope: str = "") -> list[str]:
    """The classes, sorted, without the one that means "none of these"."""
    return sorted({label for row in rows for label in row.labels} - {out_of_scope})


# Rows


def parse_all(records: Iterable[Record], recipe: Recipe, faults: list[str]) -> list[Any]:
    """The rows of all good records; a line is added to `faults` for every bad one."""
    rows = []
    parse = parse_question if recipe.derive else PARSERS[recipe.kind]
    for record in records:
        try:
            if record.fault:
                raise ValueError(record.fault)
            rows.append(parse(record, recipe))
        except ValueError as error:
            faults.append(f"{record.where}: {error}")
    return rows


def _text_field(record: Record, name: str) -> str:
    value = record.fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {_short(value)}; expected text")
    return value


def parse_labelled(record: Record, recipe: Recipe) -> LabelledText:
    """All parsers raise ValueError that says which field is wrong."""
    text = _text_field(record, "text")
    name = "labels" if "labels" in record.fields else "label"
    value = record.fields.get(name)
    if recipe.multi_label:
        if name not in record.fields or isinstance(value, Mapping):
            raise ValueError(f"{name} is {_short(value)}; expected names or an empty list")
        return LabelledText(text, _several(value, recipe.label_separator))
    names = value if isinstance(value, list) else [value]
    if len(names) != 1 or names[0] is None or not str(names[0]).strip():
        raise ValueError(f"{name} is {_short(value)}; expected one name")
    return LabelledText(text, (str(names[0]).strip(),))


def _several(value: Any, separator: str) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else str("" if value is None else value)
    parts = parts.split(separator) if isinstance(parts, str) else parts
    return tuple(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))


def parse_question(record: Record, recipe: Recipe) -> Question:
    question = _text_field(record, "question")
    context = _text_field(record, "context")
    if "answers" not in record.fields:
        raise ValueError("answers is missing; expected a list, empty where there is no answer")
    answers = [
        _checked_answer(text, start, context) for text, start in _answers(record.fields["answers"])
    ]
    identity = str(record.fields.get("id") or digest(question + context)[:16])
    article = str(record.fields.get("title") or digest(context)[:16])
    return Question(identity, question.strip(), context, tuple(answers), article)


def _answers(value: Any) -> list[tuple[Any, Any]]:
    """From SQuAD's list of objects, or the hub's object of lists."""
    try:
        if isinstance(value, Mapping):
            return list(zip(value["text"], value["answer_start"], strict=True))
        return [(item["text"], item["answer_start"]) for item in value or []]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"answers is {_short(value)}; expected objects with text and answer_start"
        ) from error


def _checked_answer(text: Any, start: Any, context: str) -> tuple[str, int]:
    """The answer without white space around it, if the context holds it at `start`."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"an answer is {_short(text)}; expected text")
    if not isinstance(start, int) or start < 0 or context[start : start + len(text)] != text:
        raise ValueError(f"answer {_short(text)} is not at character {start} of the context")
    return text.strip(), start + len(text) - len(text.lstrip())


def parse_document(record: Record, recipe: Recipe) -> Document:
    sentences = _sentences(record, recipe.kind)
    key = _key(record, len(sentences))
    references = record.fields.get("references") or []
    references = [references] if isinstance(references, str) else references
    if not isinstance(references, list) or not all(isinstance(r, str) for r in references):
        raise ValueError(f"references is {_short(references)}; expected texts")
    references = [reference for reference in references if reference.strip()]
    if recipe.kind == "seq2seq" and not references:
        raise ValueError("no reference summary; expected at least one")
    if not key and not references:
        raise ValueError("neither key sentences nor references; expected at least one")
    kept = [i for i, sentence in enumerate(sentences) if sentence.strip()]
    return Document(
        tuple(" ".join(sentences[i].split()) for i in kept),
        tuple(new for new, old in enumerate(kept) if old in key),
        tuple(references),
    )


def _sentences(record: Record, kind: str) -> list[str]:
    sentences = record.fields.get("sentences")
    if sentences is None and isinstance(record.fields.get("text"), str):
        sentences = _split(record.fields["text"], kind)
    texts = isinstance(sentences, list) and all(isinstance(s, str) for s in sentences)
    if not texts or not any(s.strip() for s in sentences):
        raise ValueError(f"sentences is {_short(sentences)}; expected a list of texts")
    return list(sentences)


def _split(text: str, kind: str) -> list[str]:
    """Sentences, or the turns of a dialogue: lines, where a generator reads several."""
    from services.tasks.summarize import split_sentences

    lines = text.strip().splitlines()
    if kind == "seq2seq" and len(lines) > 1:
        return lines
    return [text[start:end] for start, end in split_sentences(text)]


def _key(record: Record, sentences: int) -> set[int]:
    """Indices of the key sentences, from `key` or from 0/1 `marks`."""
    key, marks = record.fields.get("key"), record.fields.get("marks")
    if key is None and isinstance(marks, list):
        key = [i for i, mark in enumerate(marks) if mark]
    if not isinstance(key or [], list) or not all(isinstance(i, int) for i in key or []):
        raise ValueError(f"key is {_short(key)}; expected numbers of sentences")
    outside = [i for i in key or [] if not 0 <= i < sentences]
    if outside:
        raise ValueError(f"key names sentence {outside[0]} of {sentences}, counted from 0")
    return set(key or [])


PARSERS: dict[str, Callable[[Record, Recipe], Any]] = {
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


def _refuse_nothing_to_learn(rows: Sequence[Any], recipe: Recipe) -> None:
    """Raise DataError where training could only learn to give one answer always."""
    if recipe.kind == "sequence-classification":
        names = label_names(rows, recipe.out_of_scope)
        if len(names) < (1 if recipe.multi_label else 2):
            raise DataError(
                f"{recipe.data} has the labels {names} alone; expected at least two.",
                "Check `columns`, or add rows of other labels.",
            )
    if recipe.kind == "sentence-extraction" and not any(row.key for row in rows):
        raise DataError(
            f"{recipe.data} marks no key sentence; expected `key` or `marks` in its rows.",
            "Mark them, or train with `kind: seq2seq`, which learns from references.",
        )
    if recipe.kind == "question-answering" and not any(row.answers for row in rows):
        raise DataError(f"{recipe.data} answers none of its questions.", "Add answers.")


def list_faults(faults: Sequence[str]) -> str:
    more = f"\n  ... and {len(faults) - 20} more" if len(faults) > 20 else ""
    return f"{len(faults)} bad rows:\n  " + "\n  ".join(faults[:20]) + more + "\n"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
