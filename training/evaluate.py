"""Rows and a way to run windows in; the task's own metrics out.

    evaluation = evaluate(task, rows, infer, out_of_scope="oos")
    evaluation.value, evaluation.interval()

`infer` runs windows through torch or ONNX Runtime: what is measured is encoded and decoded by the
same lines as what is served. Values are fractions: 0.93 is 93 %.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import f1_score, roc_auc_score

from services.sentences import split_sentences
from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.generate_summary import GenerateSummary
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from services.tasks.summarize import Summarize
from services.windows import Window
from training.rows import Document, LabelledText, Question

Infer = Callable[[Sequence[Window]], list[Outputs]]
Measure = Callable[[NDArray[np.int64]], float]
RESAMPLES = 1000


@dataclass(frozen=True)
class Evaluation:
    """One metric over n rows, with the answers it was counted from.

    measure: the metric over rows chosen by index, so that it can be resampled
    answers: per row what the user would see (label, answer text, chosen sentences)
    """

    metric: str
    n: int
    measure: Measure
    answers: list[Any]
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        return self.measure(np.arange(self.n))

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """95 % bootstrap interval (Efron 1979) of the metric."""
        values = [self.measure(indices) for indices in _resamples(self.n, seed)]
        return float(np.percentile(values, 2.5)), float(np.percentile(values, 97.5))

    def record(self) -> dict[str, Any]:
        low, high = self.interval()
        return {
            "metric": self.metric,
            "value": self.value,
            "ci_low": low,
            "ci_high": high,
            "n": self.n,
            **self.extra,
        }


def paired_loss(better: Evaluation, worse: Evaluation, seed: int = 0) -> tuple[float, float, float]:
    """(loss, low, high): what `worse` loses on the same rows; paired bootstrap interval."""
    if better.n != worse.n:
        raise ValueError(f"{better.n} rows against {worse.n}: not the same rows")
    losses = [better.measure(i) - worse.measure(i) for i in _resamples(better.n, seed)]
    low, high = np.percentile(losses, [2.5, 97.5])
    return better.value - worse.value, float(low), float(high)


def agreement(one: Evaluation, other: Evaluation) -> float:
    """Share of rows with the same answer."""
    same = [a == b for a, b in zip(one.answers, other.answers, strict=True)]
    return sum(same) / len(same)


def _resamples(n: int, seed: int) -> list[NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, n, n) for _ in range(RESAMPLES)]


def encode_row(task: Task, row: Any) -> Encoded:
    if isinstance(task, AnswerQuestions):
        return task.encode(row.question, [row.context])
    if isinstance(task, Summarize):
        return task.encode(row.text, row.bounds)
    return task.encode(row.text)


def run(task: Task, rows: Sequence[Any], infer: Infer) -> tuple[list[Encoded], list[list[Outputs]]]:
    """Encode all rows and run all their windows in one go."""
    encoded = [encode_row(task, row) for row in rows]
    flat = iter(infer([window for item in encoded for window in item.windows]))
    return encoded, [[next(flat) for _ in item.windows] for item in encoded]


def evaluate(
    task: Task,
    rows: Sequence[Any],
    infer: Infer,
    out_of_scope: str = "",
    summary_sentences: int = 3,
) -> Evaluation:
    """Score `rows`; the metric is accuracy, macro-F1, SQuAD F1 or ROUGE-1, by task."""
    encoded, outputs = run(task, rows, infer)
    return score(task, rows, encoded, outputs, out_of_scope, summary_sentences)


def score(
    task: Task,
    rows: Sequence[Any],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
    out_of_scope: str = "",
    summary_sentences: int = 3,
) -> Evaluation:
    """`evaluate` for windows that have been run already."""
    if isinstance(task, Classify) and task.settings.multi_label:
        return _score_multi_label(task, rows, encoded, outputs)
    if isinstance(task, Classify):
        return _score_single_label(task, rows, encoded, outputs, out_of_scope)
    if isinstance(task, AnswerQuestions):
        return _score_answers(task, rows, encoded, outputs)
    if isinstance(task, Summarize):
        return _score_sentences(task, rows, encoded, outputs, summary_sentences)
    if isinstance(task, GenerateSummary):
        results = [task.decode(item, out) for item, out in zip(encoded, outputs, strict=True)]
        return score_summaries(rows, [result["summary"] for result in results])
    raise TypeError(f"no metric for {type(task).__name__}")


# Classification


def class_scores(
    task: Classify, encoded: Sequence[Encoded], outputs: Sequence[Sequence[Outputs]]
) -> NDArray[np.float64]:
    """(rows, labels)"""
    return np.stack([task.scores(item, out) for item, out in zip(encoded, outputs, strict=True)])


def _score_single_label(
    task: Classify,
    rows: Sequence[LabelledText],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
    out_of_scope: str,
) -> Evaluation:
    """Accuracy over the rows in scope, without abstaining; the rest goes to `extra`.

    accuracy_with_out_of_scope counts an abstention as the class "none of these".
    """
    scores = class_scores(task, encoded, outputs)
    labels = np.array(task.settings.labels)
    predicted = labels[scores.argmax(axis=1)]
    truth = np.array([row.labels[0] for row in rows])
    inside = truth != out_of_scope
    right = (predicted == truth)[inside]
    shown = np.where(scores.max(axis=1) < task.settings.threshold, out_of_scope, predicted)
    extra = {"macro_f1": float(f1_score(truth[inside], predicted[inside], average="macro"))}
    if (~inside).any():
        extra["out_of_scope_auroc"] = float(roc_auc_score(inside, scores.max(axis=1)))
        extra["accuracy_with_out_of_scope"] = float((shown == truth).mean())
        extra["out_of_scope_recall"] = float((shown == truth)[~inside].mean())
    return Evaluation(
        "accuracy",
        int(inside.sum()),
        lambda indices: float(right[indices].mean()),
        predicted[inside].tolist(),
        extra,
    )


def _score_multi_label(
    task: Classify,
    rows: Sequence[LabelledText],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
) -> Evaluation:
    chosen = class_scores(task, encoded, outputs) >= task.thresholds()
    truth = truth_matrix(rows, task.settings.labels)
    micro = float(f1_score(truth, chosen, average="micro", zero_division=0.0))
    return Evaluation(
        "macro_f1",
        len(rows),
        lambda indices: float(label_f1(truth[indices], chosen[indices]).mean()),
        [tuple(np.flatnonzero(row).tolist()) for row in chosen],
        {"micro_f1": micro},
    )


def truth_matrix(rows: Sequence[LabelledText], labels: Sequence[str]) -> NDArray[np.bool_]:
    """(rows, labels)"""
    return np.array([[label in row.labels for label in labels] for row in rows])


def label_f1(truth: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(labels,) F1 of each label; 0 where one is neither there nor chosen, as in scikit-learn."""
    hits = (truth & chosen).sum(axis=0)
    return np.asarray(2.0 * hits / np.maximum(truth.sum(axis=0) + chosen.sum(axis=0), 1))


# Questions (Rajpurkar et al. 2016)


def normalize_answer(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces: SQuAD's rule."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def answer_f1(predicted: str, truth: str) -> float:
    """Word overlap of two answers after normalization; two empty answers agree."""
    ours, theirs = normalize_answer(predicted).split(), normalize_answer(truth).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2.0 * common / (len(ours) + len(theirs))


def is_exact(answer: str, row: Question) -> bool:
    """SQuAD's exact match; the empty answer is right where the text holds none."""
    golds = [text for text, _ in row.answers] or [""]
    return any(normalize_answer(answer) == normalize_answer(gold) for gold in golds)


def _score_answers(
    task: AnswerQuestions,
    rows: Sequence[Question],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
) -> Evaluation:
    """SQuAD F1. Where every row has an answer the reader always answers, as in v1.1."""
    threshold = None if any(not row.answers for row in rows) else 0.0
    answers = [
        task.decode(item, out, threshold=threshold)["answer"] or ""
        for item, out in zip(encoded, outputs, strict=True)
    ]
    gold = [[text for text, _ in row.answers] or [""] for row in rows]
    f1 = np.array(
        [max(answer_f1(a, g) for g in golds) for a, golds in zip(answers, gold, strict=True)]
    )
    exact = [is_exact(answer, row) for answer, row in zip(answers, rows, strict=True)]
    extra = {"exact_match": float(np.mean(exact))}
    null = np.array([not row.answers for row in rows])
    if null.any():
        extra["no_answer_f1"] = float(f1_score(null, [not answer for answer in answers]))
        extra["f1_of_answerable"] = float(f1[~null].mean()) if (~null).any() else 0.0
    return Evaluation("f1", len(rows), lambda indices: float(f1[indices].mean()), answers, extra)


# Summaries


def _score_sentences(
    task: Summarize,
    rows: Sequence[Document],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
    summary_sentences: int,
) -> Evaluation:
    results = [
        task.decode(item, out, max_sentences=summary_length(row, summary_sentences))
        for row, item, out in zip(rows, encoded, outputs, strict=True)
    ]
    answers = [tuple(s["start"] for s in result["sentences"]) for result in results]
    return score_summaries(rows, [result["summary"] for result in results], answers)


def score_summaries(
    rows: Sequence[Document], summaries: Sequence[str], answers: Sequence[Any] | None = None
) -> Evaluation:
    """ROUGE F with stemming, the best over a row's references (Lin 2004).

    A row without written references is compared with its key sentences.
    """
    scorer = RougeScorer(["rouge1", "rouge2", "rougeLsum"], use_stemmer=True)
    best = []
    for row, summary in zip(rows, summaries, strict=True):
        found = scorer.score_multi(list(map(in_lines, references_of(row))), in_lines(summary))
        best.append([found[name].fmeasure for name in ("rouge1", "rouge2", "rougeLsum")])
    table = np.array(best)
    return Evaluation(
        "rouge1",
        len(rows),
        lambda indices: float(table[indices, 0].mean()),
        list(summaries if answers is None else answers),
        {"rouge2": float(table[:, 1].mean()), "rougeLsum": float(table[:, 2].mean())},
    )


def in_lines(text: str) -> str:
    """A sentence a line: what rougeLsum compares; other ROUGE scores are the same either way."""
    return "\n".join(text[start:end] for start, end in split_sentences(text))


def summary_length(row: Document, sentences: int) -> int:
    """How many sentences a summary of `row` may have: as many as its key sentences for 0."""
    return row.summary_sentences or sentences or max(1, len(row.key))


def references_of(row: Document) -> list[str]:
    return list(row.references) or [" ".join(row.sentences[i] for i in row.key)]
