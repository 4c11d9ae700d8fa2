"""McNemar's exact test (McNemar 1947): whether two classifiers are right equally often.

In: how many rows only the one, and only the other, has right. Out: the two-sided p of a fair coin.
"""

from __future__ import annotations

from scipy.stats import binomtest


def mcnemar_p(only_one: int, only_other: int) -> float:
    """Probability of a split at least as uneven when both are equally good; 1 without any."""
    decided = only_one + only_other
    return float(binomtest(only_one, decided).pvalue) if decided else 1.0
