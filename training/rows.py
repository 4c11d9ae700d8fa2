"""One typed row per task, and how a record of the data becomes one.

rows = parse_all(records, recipe, faults)     # a line in `faults` for every bad record
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from services.errors import UsageError
from training.formats import Record
from training.recipe import Recipe


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


def label_names(rows: Iterable[LabelledText], out_of_scope: str = "") -> list[str]:
    """The classes, sorted, without the one that means "none of these"."""
    return sorted({label for row in rows for label in row.labels} - {out_of_scope})


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# From records


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


def list_faults(faults: Sequence[str]) -> str:
    more = f"\n  ... and {len(faults) - 20} more" if len(faults) > 20 else ""
    return f"{len(faults)} bad rows:\n  " + "\n  ".join(faults[:20]) + more + "\n"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
