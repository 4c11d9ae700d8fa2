"""When requests are due."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest

from load_tests.arrivals import FOREVER_S, due_times, stepped


def test_constant_arrivals_are_equally_far_apart() -> None:
    assert due_times(4.0, 1.0, "constant", seed=0) == [0.0, 0.25, 0.5, 0.75]


def test_random_arrivals_have_the_rate_and_follow_the_seed() -> None:
    found = due_times(1000.0, 10.0, "poisson", seed=1)
    assert found == due_times(1000.0, 10.0, "poisson", seed=1)
    assert found != due_times(1000.0, 10.0, "poisson", seed=2)
    assert found == sorted(found)
    assert found[0] > 0 and found[-1] < 10.0
    assert 9_500 < len(found) < 10_500


def test_gaps_of_random_arrivals_are_spread_like_those_of_independent_users() -> None:
    times = due_times(1000.0, 10.0, "poisson", seed=3)
    gaps = [after - before for before, after in pairwise(times)]
    shorter_than_mean = sum(gap < 0.001 for gap in gaps) / len(gaps)
    assert shorter_than_mean == pytest.approx(1 - 1 / 2.71828, abs=0.02)


def test_steps_follow_each_other() -> None:
    found = list(stepped([(100.0, 2.0), (400.0, 2.0)], seed=0))
    first = [time for time in found if time < 2.0]
    assert 150 < len(first) < 250
    assert 700 < len(found) - len(first) < 900
    assert max(found) < 4.0


def test_the_last_step_may_go_on_for_ever() -> None:
    assert len(list(islice(stepped([(10.0, FOREVER_S)]), 5000))) == 5000


def test_other_arrivals_are_refused() -> None:
    with pytest.raises(ValueError, match="bursts"):
        due_times(1.0, 1.0, "bursts", seed=0)
