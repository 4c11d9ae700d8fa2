"""Written texts against references: ROUGE-1, -2, -L, -Lsum, BLEU and exact match.

text_figures(["The pump failed."], [["The pump of line 2 failed.", "A pump failed."]])
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from training.evaluate import Evaluation, in_lines, normalize_answer

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def text_figures(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """All figures by name, as fractions.

    ROUGE (Lin 2004): F with stemming, the best over a text's references, with an interval; for
    rougeLsum the sentences of both are its lines. BLEU (Papineni et al. 2002): of the corpus, by
    sacreBLEU (Post 2018), whose `signature` says how. exact_match: after SQuAD's normalization.
    """
    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    table = np.array(
        [
            [
                found[name].fmeasure
                for found in [scorer.score_multi([in_lines(one) for one in golds], in_lines(text))]
                for name in ROUGE
            ]
            for text, golds in zip(texts, references, strict=True)
        ]
    )
    figures: dict[str, Any] = {}
    for column, name in enumerate(ROUGE):
        evaluation = Evaluation(name, len(texts), partial(_mean, table[:, column]), [])
        low, high = evaluation.interval()
        figures[name] = {"value": evaluation.value, "ci_low": low, "ci_high": high}
    figures["bleu"] = bleu(texts, references)
    figures["exact_match"] = {"value": float(np.mean(_exact(texts, references)))}
    return figures


def _mean(values: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
    return float(values[rows].mean())


def bleu(texts: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """value: 0..1; rows may have different numbers of references"""
    metric = BLEU()
    columns = [list(column) for column in zip_longest(*references)]
    score = metric.corpus_score(list(texts), columns).score
    return {"value": score / 100, "signature": str(metric.get_signature())}


def _exact(texts: Sequence[str], references: Sequence[Sequence[str]]) -> list[bool]:
    return [
        any(normalize_answer(text) == normalize_answer(gold) for gold in golds)
        for text, golds in zip(texts, references, strict=True)
    ]
