"""What a model is bad at, counted from its errors: the worst classes, slices and confusions.

    found = weak_spots(task, rows, evaluation, encoded, outputs, out_of_scope)
    found["slices"]      # [{"by": "class", "of": "plug_type", "n": 30, "value": 0.81}, ...]
    found["confused"]    # [{"truth": "plug_type", "said": "smart_home", "n": 6, "of": 30}]

Nothing of the rows' text is in it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from training.evaluate import Evaluation, class_scores, label_f1, truth_matrix
from training.rows import Document, LabelledText, Question

WORST = 8  # classes and confusions that are listed
LEAST_ROWS = 5  # a slice of fewer says nothing
OUT_OF_SCOPE = "(out of scope)"
QUESTION_WORDS = ("what", "who", "when", "where", "which", "how", "why")

Ran = Sequence[Sequence[Outputs]]
Spots = dict[str, list[dict[str, Any]]]


def weak_spots(
    task: Task,
    rows: Sequence[Any],
    evaluation: Evaluation,
    encoded: Sequence[Encoded],
    outputs: Ran,
    out_of_scope: str = "",
) -> Spots:
    """`slices` of the rows with their metric, and for classifiers the most `confused` pairs.

    evaluation: of the same rows
    """
    if isinstance(task, Classify) and task.settings.multi_label:
        chosen = class_scores(task, encoded, outputs) >= task.thresholds()
        return _several_labels(rows, task.settings.labels, chosen)
    if isinstance(task, Classify):
        return _one_label(task, rows, class_scores(task, encoded, outputs), out_of_scope)
    keys = ANSWER_SLICES if isinstance(task, AnswerQuestions) else SUMMARY_SLICES
    return {"slices": _slices(rows, evaluation, keys)}


# Classes


def _one_label(
    task: Classify,
    rows: Sequence[LabelledText],
    scores: NDArray[np.float64],
    out_of_scope: str,
) -> Spots:
    """F1 of the worst classes, without abstaining; confusions, and who takes texts out of scope."""
    names = np.array(task.settings.labels)
    said = names[scores.argmax(axis=1)]
    truth = np.array([row.labels[0] for row in rows])
    inside = truth != out_of_scope
    present = sorted(set(truth[inside]))
    f1 = f1_score(truth[inside], said[inside], labels=present, average=None, zero_division=0.0)
    worst = _worst_labels(present, f1, Counter(truth[inside]))
    answered = ~inside & (scores.max(axis=1) >= task.settings.threshold)
    pairs = list(zip(truth[inside], said[inside], strict=True))
    pairs += [(OUT_OF_SCOPE, name) for name in said[answered]]
    of = Counter(truth[inside])
    of[OUT_OF_SCOPE] = int((~inside).sum())
    return {"slices": worst, "confused": _most_confused(pairs, of)}


def _several_labels(
    rows: Sequence[LabelledText], labels: Sequence[str], chosen: NDArray[np.bool_]
) -> Spots:
    """A label that is missed counts as confused with each that was wrongly chosen instead."""
    truth = truth_matrix(rows, labels)
    counts = Counter({name: int(n) for name, n in zip(labels, truth.sum(axis=0), strict=True)})
    pairs = [
        (labels[missed], labels[wrong])
        for there, taken in zip(truth, chosen, strict=True)
        for missed in np.flatnonzero(there & ~taken)
        for wrong in np.flatnonzero(taken & ~there)
    ]
    worst = _worst_labels(labels, label_f1(truth, chosen), counts)
    return {"slices": worst, "confused": _most_confused(pairs, counts)}


def _worst_labels(
    names: Sequence[str], f1: Sequence[float] | NDArray[np.float64], counts: Counter[str]
) -> list[dict[str, Any]]:
    ranked = sorted(zip(f1, names, strict=True))[:WORST]
    return [
        {"by": "class", "of": str(name), "n": counts[name], "metric": "f1", "value": float(value)}
        for value, name in ranked
    ]


def _most_confused(pairs: Iterable[tuple[str, str]], of: Counter[str]) -> list[dict[str, Any]]:
    wrong = Counter((str(truth), str(said)) for truth, said in pairs if truth != said)
    ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:WORST]
    return [{"truth": t, "said": s, "n": n, "of": of[t]} for (t, s), n in ranked]


# Slices of questions and documents


def _slices(
    rows: Sequence[Any], evaluation: Evaluation, keys: dict[str, Callable[[Any], str]]
) -> list[dict[str, Any]]:
    """Every slice of LEAST_ROWS or more, by each key, the worst of a key first."""
    found = []
    for by, key in keys.items():
        places: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            places[key(row)].append(index)
        one = [
            {
                "by": by,
                "of": of,
                "n": len(indices),
                "metric": evaluation.metric,
                "value": evaluation.measure(np.array(indices)),
            }
            for of, indices in places.items()
            if len(indices) >= LEAST_ROWS
        ]
        found += sorted(one, key=lambda item: (item["value"], item["of"]))
    return found


def between(value: float, borders: Sequence[int]) -> str:
    """Where a number of words lies: "1 word", "2 to 3 words", "4 words or more"."""
    for low, high in zip((0, *borders), borders, strict=False):
        if value <= high:
            first = low + 1
            span = f"{first} to {high}" if first < high else f"{high}"
            return f"{span} words" if high > 1 else "1 word"
    return f"{borders[-1] + 1} words or more"


def answer_length(row: Question) -> str:
    """Of the shortest answer, because people mark more or less of the same."""
    if not row.answers:
        return "no answer in the text"
    return between(min(len(text.split()) for text, _ in row.answers), (1, 3, 6))


def question_word(row: Question) -> str:
    """The first question word, also where it is not the first word ("In what year")."""
    words = row.question.lower().replace("?", " ").split()
    return next((word for word in words if word in QUESTION_WORDS), "none of these")


def context_length(row: Question) -> str:
    return between(len(row.context.split()), (100, 200))


def document_length(row: Document) -> str:
    return between(len(row.text.split()), (150, 300))


def key_place(row: Document) -> str:
    """Where the first key sentence stands."""
    if not row.key:
        return "not marked"
    return "the first sentence" if min(row.key) == 0 else "a later sentence"


ANSWER_SLICES: dict[str, Callable[[Any], str]] = {
    "answer": answer_length,
    "question word": question_word,
    "text": context_length,
}
SUMMARY_SLICES: dict[str, Callable[[Any], str]] = {
    "document": document_length,
    "first key sentence": key_place,
}
