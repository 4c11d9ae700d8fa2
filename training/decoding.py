"""How logits become answers, chosen on dev: calibrated scores, then thresholds on them.

For a summarizer first what the centrality of a sentence counts beside what was learned, and whether
its sentences may share three words in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer

from services.tasks.base import Encoded, Outputs
from services.tasks.classify import Classify
from services.tasks.kinds import Task
from services.tasks.summarize import Summarize
from training.calibration import OUT_OF_SCOPE_SHARE, calibrate
from training.evaluate import class_scores, references_of, summary_length, truth_matrix
from training.rows import Document, LabelledText

GRID = np.linspace(0.01, 0.99, 99)
CENTRALITIES = (0.0, 0.25, 0.5, 1.0, 2.0)


def choose_decoding(
    task: Task,
    rows: Sequence[Any],
    encoded: Sequence[Encoded],
    outputs: Sequence[Sequence[Outputs]],
    out_of_scope: str = "",
    summary_sentences: int = 3,
) -> Task:
    """The task with the settings that serve `rows` best."""
    if isinstance(task, Summarize):
        task = choose_extraction(task, rows, encoded, outputs, summary_sentences)
    task = calibrate(task, rows, encoded, outputs, out_of_scope)
    if isinstance(task, Classify) and task.settings.multi_label:
        thresholds = label_thresholds(
            truth_matrix(rows, task.settings.labels), class_scores(task, encoded, outputs)
        )
        settings: Any = replace(task.settings, thresholds=[round(float(t), 3) for t in thresholds])
        return Classify(task.tokenizer, settings)
    if isinstance(task, Classify):
        threshold = abstain_threshold(
            task, rows, class_scores(task, encoded, outputs), out_of_scope
        )
        return Classify(task.tokenizer, replace(task.settings, threshold=threshold))
    return task


def choose_extraction(
    task: Summarize,
    rows: Sequence[Document],
    encoded: Sequence[Any],
    outputs: Sequence[Sequence[Outputs]],
    summary_sentences: int,
) -> Summarize:
    """With the weight of centrality and the block of the best mean ROUGE-1.

    Of equally good ones the smallest weight, with sentences blocked. A model sees a long text in
    windows, and has learned from few kinds of text; what the words of the whole text say of each
    sentence needs neither. Blocking suits summaries of a few sentences; in longer ones it leaves
    out good ones for a name of three words.
    """
    if not rows:
        return task
    scorer = RougeScorer(["rouge1"], use_stemmer=True)

    @cache  # most settings choose the same sentences
    def rouge(number: int, summary: str) -> float:
        found = scorer.score_multi(references_of(rows[number]), summary)
        return float(found["rouge1"].fmeasure)

    def value(candidate: Summarize) -> float:
        lengths = [summary_length(row, summary_sentences) for row in rows]
        results = map(candidate.decode, encoded, outputs, lengths)
        return float(np.mean([rouge(i, one["summary"]) for i, one in enumerate(results)]))

    candidates = [
        Summarize(task.tokenizer, replace(task.settings, centrality=weight, block_trigrams=block))
        for block in (True, False)
        for weight in CENTRALITIES
    ]
    return max(candidates, key=value)  # the first of equal ones


def label_thresholds(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(labels,) the threshold of the grid with the best F1 for each label.

    Of equally good ones the nearest to 0.5: a label that dev never shows must not be chosen always.
    """
    hits = np.stack([(truth & (scores >= t)).sum(axis=0) for t in GRID])
    chosen = np.stack([(scores >= t).sum(axis=0) for t in GRID])
    f1 = 2.0 * hits / np.maximum(chosen + truth.sum(axis=0), 1)
    from_middle = np.abs(GRID - 0.5)[:, None]
    return np.asarray(GRID[(f1 - 1e-9 * from_middle).argmax(axis=0)])


def abstain_threshold(
    task: Classify, rows: Sequence[LabelledText], scores: NDArray[np.float64], out_of_scope: str
) -> float:
    """Weighs wrong answers inside the scope against answers given outside of it.

    Of the thresholds within one standard error of the best (Breiman et al. 1984) the nearest to
    0.5, where calibrated scores say that an answer is as likely right as wrong: a few hundred rows
    cannot tell the others apart.
    """
    truth = np.array([row.labels[0] for row in rows])
    outside = truth == out_of_scope
    if not out_of_scope or not outside.any() or outside.all():
        return 0.0
    best = scores.max(axis=1)
    right = np.array(task.settings.labels)[scores.argmax(axis=1)] == truth
    answered = np.array([(right & (best >= t))[~outside].mean() for t in GRID])
    refused = np.array([(best < t)[outside].mean() for t in GRID])
    inside_share = 1 - OUT_OF_SCOPE_SHARE
    value = inside_share * answered + OUT_OF_SCOPE_SHARE * refused
    top = int(np.argmax(value))
    error = np.hypot(
        inside_share * _standard_error(answered[top], int((~outside).sum())),
        OUT_OF_SCOPE_SHARE * _standard_error(refused[top], int(outside.sum())),
    )
    as_good = GRID[value >= value[top] - error]
    return round(float(as_good[np.abs(as_good - 0.5).argmin()]), 3)


def _standard_error(share: float, n: int) -> float:
    """With one right and one wrong row more, so that a few rows without a fault prove little."""
    smoothed = (share * n + 1) / (n + 2)
    return float(np.sqrt(smoothed * (1 - smoothed) / n))
