from __future__ import annotations

import pytest

from load_tests.peers.figures import at_least, at_most, figure


def test_a_figure_is_the_median_of_its_rounds_with_their_spread() -> None:
    row = figure("rate", [3.0, 1.0, 2.0], "texts/s", how="by hand")
    assert row == {
        "name": "rate",
        "value": 2.0,
        "unit": "texts/s",
        "spread": [1.0, 3.0],
        "rounds": 3,
        "how": "by hand",
    }


@pytest.mark.parametrize(
    ("target", "value", "reached"),
    [
        (at_least(0.7), 0.7, True),
        (at_least(0.7), 0.69, False),
        (at_most(4.0), 4.0, True),
        (at_most(4.0), 4.1, False),
    ],
)
def test_a_target_is_reached_on_its_own_side(target, value, reached) -> None:
    assert figure("f", [value], "x", target)["reached"] is reached


def test_a_target_says_in_words_what_it_is_a_share_of() -> None:
    row = figure("share", [0.75], "x", at_least(0.7, "of the ceiling", stretch=0.8))
    assert row["target"] == ">= 0.7 of the ceiling (stretch 0.8)"
    assert (row["target_number"], row["reached"], row["stretch_reached"]) == (0.7, True, False)


def test_a_figure_may_be_another_than_the_median() -> None:
    assert figure("best of 3", [3.0, 1.0, 2.0], "s", value=1.0)["value"] == 1.0
