"""How far scores are from the share of right answers: expected calibration error on held-out rows.

    for found in calibration(task, rows, encoded, outputs, out_of_scope):
        found.of, found.before, found.after

Fifteen equally wide bins (Guo et al. 2017); for several labels the mean of each label's error
(Kull et al. 2019), because over all decisions together the errors of two labels may cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.kinds import Task
from services.tasks.qa import AnswerQuestions
from services.tasks.summarize import Summarize
from training.calibration import sentence_scores
from training.evaluate import class_scores, is_exact, truth_matrix

BINS = 15

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ran = Sequence[Sequence[Outputs]]
Claim = Callable[[Any], tuple[Floats, Bools]]  # a task -> its scores, and which of them were right


@dataclass(frozen=True)
class Calibration:
    """The error of one sort of score before and after it was calibrated.

    of: which scores, and what counts as right; n: how many scores
    """

    of: str
    n: int
    before: float
    after: float

    def record(self) -> dict[str, Any]:
        return asdict(self)


def expected_calibration_error(scores: Floats, right: Bools, bins: int = BINS) -> float:
    """Mean distance of a score from how often it is right, over equally wide bins.

    scores: (n,) or (n, labels) in 0..1; right: the same shape. A bin counts by its share of the n;
    of several labels the mean is taken.
    """
    if scores.ndim == 2:
        columns = zip(scores.T, right.T, strict=True)
        return float(np.mean([expected_calibration_error(s, r, bins) for s, r in columns]))
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    surplus = np.bincount(place, weights=scores - right, minlength=bins)
    return float(np.abs(surplus).sum() / len(scores))


def calibration(
    task: Task,
    rows: Sequence[Any],
    encoded: Sequence[Encoded],
    outputs: Ran,
    out_of_scope: str = "",
) -> list[Calibration]:
    """What calibrating `task` was worth, on rows that it was not chosen on."""
    found = []
    for of, claim in _claims(task, rows, encoded, outputs, out_of_scope).items():
        before, after = claim(uncalibrated(task)), claim(task)
        errors = expected_calibration_error(*before), expected_calibration_error(*after)
        found.append(Calibration(of, after[0].size, *errors))
    return found


def uncalibrated(task: Any) -> Any:
    """The task with its thresholds but with the scores of the bare logits."""
    plain = {"temperature": 1.0}
    if isinstance(task, Classify):
        plain["scope_temperature"] = 0.0
    if isinstance(task, AnswerQuestions):
        plain["null_bias"] = 0.0
    return type(task)(task.tokenizer, replace(task.settings, **plain))


def _claims(
    task: Task,
    rows: Sequence[Any],
    encoded: Sequence[Encoded],
    outputs: Ran,
    out_of_scope: str,
) -> dict[str, Claim]:
    ran = rows, encoded, outputs
    if isinstance(task, Classify) and task.settings.multi_label:
        return {"each label": partial(_labels, ran)}
    if isinstance(task, Classify):
        inside = np.array([row.labels[0] != out_of_scope for row in rows])
        claims: dict[str, Claim] = {}
        if inside.any():
            claims["the best label, texts in scope, by temperature alone"] = partial(
                _best_label_inside, ran, inside
            )
        if not inside.all():
            claims["the best label, wrong for texts out of scope"] = partial(_best_label, ran)
        return claims
    if isinstance(task, AnswerQuestions):
        claims = {"the answer, right by exact match": partial(_answers, ran)}
        if any(not row.answers for row in rows):
            claims["that there is an answer"] = partial(_answerable, ran)
        return claims
    if isinstance(task, Summarize) and any(row.key for row in rows):
        return {"each sentence, right if it is a key sentence": partial(_key_sentences, ran)}
    return {}


AllRan = tuple[Sequence[Any], Sequence[Any], Ran]


def _labels(ran: AllRan, task: Classify) -> tuple[Floats, Bools]:
    rows, encoded, outputs = ran
    return class_scores(task, encoded, outputs), truth_matrix(rows, task.settings.labels)


def _best_label(ran: AllRan, task: Classify) -> tuple[Floats, Bools]:
    rows, encoded, outputs = ran
    scores = class_scores(task, encoded, outputs)
    names = np.array(task.settings.labels)[scores.argmax(axis=1)]
    return scores.max(axis=1), names == np.array([row.labels[0] for row in rows])


def _best_label_inside(ran: AllRan, inside: Bools, task: Classify) -> tuple[Floats, Bools]:
    """Given that the text is in scope: what temperature scaling itself is about."""
    conditional = Classify(task.tokenizer, replace(task.settings, scope_temperature=0.0))
    scores, right = _best_label(ran, conditional)
    return scores[inside], right[inside]


def _answers(ran: AllRan, task: AnswerQuestions) -> tuple[Floats, Bools]:
    """Of the best span, also where none would be shown."""
    rows, encoded, outputs = ran
    best = [
        task.decode(item, out, threshold=0.0) for item, out in zip(encoded, outputs, strict=True)
    ]
    right = [is_exact(one["answer"], row) for one, row in zip(best, rows, strict=True)]
    return np.array([one["score"] for one in best]), np.array(right)


def _answerable(ran: AllRan, task: AnswerQuestions) -> tuple[Floats, Bools]:
    return _answers(ran, task)[0], np.array([bool(row.answers) for row in ran[0]])


def _key_sentences(ran: AllRan, task: Summarize) -> tuple[Floats, Bools]:
    return sentence_scores(task.scores, *ran)
