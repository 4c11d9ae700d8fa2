"""McNemar's exact test against values worked out by hand."""

from __future__ import annotations

from math import comb

import pytest

from export.mcnemar import mcnemar_p


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (6, 0, 2 * 0.5**6),
        (1, 9, 2 * (comb(10, 0) + comb(10, 1)) * 0.5**10),
    ],
)
def test_it_is_a_two_sided_binomial_test(one: int, other: int, p: float) -> None:
    assert mcnemar_p(one, other) == pytest.approx(p)
    assert mcnemar_p(other, one) == pytest.approx(p)
