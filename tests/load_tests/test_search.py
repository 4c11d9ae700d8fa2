"""The search for the highest rate, on servers that are made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from load_tests.search import TOLERANCE, highest_rate

Attempt = Callable[[float, bool], dict[str, Any]]


def server(holds: float, generator: float = float("inf")) -> Attempt:
    """It meets its target up to `holds`; the generator keeps up to `generator`."""

    def attempt(rate: float, confirm: bool) -> dict[str, Any]:
        return {
            "rate": rate,
            "confirms": confirm,
            "met": rate <= holds,
            "valid": rate <= generator,
        }

    return attempt


@pytest.mark.parametrize("first", [1.0, 100.0, 1000.0, 40_000.0])
def test_the_rate_is_found_from_wherever_it_begins(first: float) -> None:
    found = highest_rate(server(317.0), first, tries=30)
    assert 317.0 / TOLERANCE <= found.rate <= 317.0
    assert found.confirmed and found.limited_by == "server"
    assert found.best is not None and found.best["confirms"]


def test_few_tries_give_a_rate_that_holds_all_the_same() -> None:
    found = highest_rate(server(317.0), 100.0, tries=3)
    assert found.rate == 200.0
    assert len(found.tries) == 4


def test_a_generator_that_cannot_send_more_is_said_to_be_the_limit() -> None:
    found = highest_rate(server(1000.0, generator=300.0), 100.0, tries=30)
    assert 300.0 / TOLERANCE <= found.rate <= 300.0
    assert found.limited_by == "generator"


def test_a_rate_that_is_not_confirmed_is_lowered() -> None:
    held = server(300.0)

    def worse_for_longer(rate: float, confirm: bool) -> dict[str, Any]:
        return held(rate * (1.07 if confirm else 1.0), confirm)

    found = highest_rate(worse_for_longer, 100.0, tries=30)
    assert found.confirmed
    assert found.rate * 1.07 <= 300.0
    met = [one["met"] for one in found.tries if one["confirms"]]
    assert met in ([False, True], [False, False, True])


def test_one_hiccup_does_not_decide() -> None:
    held, hiccups = server(317.0), iter([True])

    def unlucky_once(rate: float, confirm: bool) -> dict[str, Any]:
        phase = held(rate, confirm)
        return {**phase, "met": phase["met"] and not (rate > 150 and next(hiccups, False))}

    assert highest_rate(unlucky_once, 100.0, tries=30, again=True).rate >= 317.0 / TOLERANCE


def test_a_server_that_holds_nothing_has_no_rate() -> None:
    found = highest_rate(server(0.0), 8.0, tries=30)
    assert (found.rate, found.confirmed, found.best) == (0.0, False, None)


def test_tries_that_run_out_before_a_failure_are_said_to_be_the_limit() -> None:
    assert highest_rate(server(1e9), 1.0, tries=4).limited_by == "tries"
