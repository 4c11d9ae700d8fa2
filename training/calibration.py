"""Scores that mean what they say: the scale on which they are probabilities, chosen on dev.

    task = calibrate(task, rows, encoded, outputs, out_of_scope)    # before any threshold is

One temperature for all scores (Guo et al. 2017); Platt scaling (1999) where another answer, "none
of these" or "not in this text", competes with the best one. `training.calibration_error` says what
it is worth on other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from services.tasks.summarize import Summarize
from training.evaluate import truth_matrix
from training.rows import Document, LabelledText, Question

OUT_OF_SCOPE_SHARE = 0.2  # how much of the traffic is taken to be outside of all classes
LOG_TEMPERATURES = (-3.0, 3.0)  # natural logarithms of the least and the most

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ran = Sequence[Sequence[Outputs]]


def calibrate(
    task: Task,
    rows: Sequence[Any],
    encoded: Sequence[Encoded],
    outputs: Ran,
    out_of_scope: str = "",
) -> Task:
    """The task with the scale on which its scores are probabilities for `rows`.

    Rows out of scope do not count for the temperature; they say where the classes end.
    """
    if isinstance(task, Classify) and task.settings.multi_label:
        logits = _class_logits(task, encoded, outputs)
        temperature = binary_temperature(logits, truth_matrix(rows, task.settings.labels))
        return Classify(task.tokenizer, replace(task.settings, temperature=temperature))
    if isinstance(task, Classify):
        logits = _class_logits(task, encoded, outputs)
        return _calibrate_one_label(task, rows, logits, out_of_scope)
    if isinstance(task, AnswerQuestions):
        return _calibrate_null(task, rows, encoded, outputs)
    if isinstance(task, Summarize):
        return _calibrate_sentences(task, rows, encoded, outputs)
    return task


def uncalibrated(task: Task) -> Task:
    """The task as if nothing had been chosen but the thresholds."""
    plain: dict[str, float] = {"temperature": 1.0}
    if isinstance(task, Classify):
        plain["scope_temperature"] = 0.0
    if isinstance(task, AnswerQuestions):
        plain["null_bias"] = 0.0
    return type(task)(task.tokenizer, replace(task.settings, **plain))  # type: ignore[arg-type]


def class_temperature(logits: Floats, truth: NDArray[np.int64]) -> float:
    """Temperature of the least negative log-likelihood; logits: (n, labels), truth: (n,) classes.

    Right answers count n + 1 of n + 2, as in Platt 1999: a few rows, all of them right, must not
    make the model certain.
    """
    smooth = 1.0 / (len(logits) + 2)
    own = logits[np.arange(len(logits)), truth]
    target = (1 - smooth) * own + smooth * logits.mean(axis=1)
    return _least(lambda t: float((logsumexp(logits / t, axis=1) - target / t).mean()))


def binary_temperature(logits: Floats, truth: Bools) -> float:
    """The same for yes-or-no scores (sigmoid); both of any equal shape."""
    smooth = 1.0 / (logits.size + 2)
    target = smooth + (1 - 2 * smooth) * truth
    return _least(lambda t: float((np.logaddexp(0.0, logits / t) - target * logits / t).mean()))


def _least(loss: Callable[[float], float]) -> float:
    found = minimize_scalar(lambda x: loss(np.exp(x)), bounds=LOG_TEMPERATURES, method="bounded")
    return round(float(np.exp(found.x)), 4)


def platt(values: Floats, yes: Bools, share: float) -> tuple[float, float]:
    """(bias, temperature): sigmoid((value - bias) / temperature) is the probability of yes.

    share: of yes among what the model will meet; `values` count as if they had it
    """
    weight = np.where(yes, share / yes.mean(), (1 - share) / (~yes).mean())
    fitted = LogisticRegression().fit(values[:, None], yes, sample_weight=weight)
    slope = max(float(fitted.coef_[0, 0]), 1e-3)
    return round(-float(fitted.intercept_[0]) / slope, 4), round(1.0 / slope, 4)


def _class_logits(task: Classify, encoded: Sequence[Encoded], outputs: Ran) -> Floats:
    """(rows, labels)"""
    return np.stack([task.logits(item, out) for item, out in zip(encoded, outputs, strict=True)])


def _calibrate_one_label(
    task: Classify, rows: Sequence[LabelledText], logits: Floats, out_of_scope: str
) -> Classify:
    names = task.settings.labels
    inside = np.array([row.labels[0] != out_of_scope for row in rows])
    if not inside.any():
        return task
    truth = np.array([names.index(row.labels[0]) for row in rows if row.labels[0] != out_of_scope])
    temperature = class_temperature(logits[inside], truth)
    settings = replace(
        task.settings, temperature=temperature, scope_bias=0.0, scope_temperature=0.0
    )
    if not inside.all():
        energy = logsumexp(logits / temperature, axis=1)
        bias, scale = platt(energy, inside, 1 - OUT_OF_SCOPE_SHARE)
        settings = replace(settings, scope_bias=bias, scope_temperature=scale)
    return Classify(task.tokenizer, settings)


def _calibrate_null(
    task: AnswerQuestions, rows: Sequence[Question], encoded: Sequence[Encoded], outputs: Ran
) -> AnswerQuestions:
    """At a score of 0.5 an answer is as likely as none."""
    answerable = np.array([bool(row.answers) for row in rows])
    if answerable.all() or not answerable.any():
        return task
    margins = np.array(
        [task.best_spans(item, out)[0].margin for item, out in zip(encoded, outputs, strict=True)]
    )
    bias, temperature = platt(margins, answerable, 0.5)
    settings = replace(task.settings, null_bias=bias, temperature=temperature)
    return AnswerQuestions(task.tokenizer, settings)


def _calibrate_sentences(
    task: Summarize, rows: Sequence[Document], encoded: Sequence[Encoded], outputs: Ran
) -> Summarize:
    logits, key = sentence_scores(task.logits, rows, encoded, outputs)
    if not key.any():
        return task
    temperature = binary_temperature(logits, key)
    return Summarize(task.tokenizer, replace(task.settings, temperature=temperature))


def sentence_scores(
    score: Callable[[Any, Any], Floats],
    rows: Sequence[Document],
    encoded: Sequence[Any],
    outputs: Ran,
) -> tuple[Floats, Bools]:
    """What `score` gives for every sentence of all rows, and whether it is a key sentence."""
    found = [score(item, out) for item, out in zip(encoded, outputs, strict=True)]
    keys = [{row.bounds[i] for i in row.key} for row in rows]
    marks = [
        [bounds in key for bounds in item.sentences]
        for item, key in zip(encoded, keys, strict=True)
    ]
    return np.concatenate([*found, np.zeros(0)]), np.array([m for row in marks for m in row], bool)
