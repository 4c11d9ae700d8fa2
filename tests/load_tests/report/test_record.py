"""Rows made complete: losses, the Pareto front, verdicts."""

from __future__ import annotations

import pytest

from load_tests.report.pareto import dominates, pareto, place
from load_tests.report.record import complete, valid
from load_tests.report.verdict import verdict
from tests.load_tests.records import ENVIRONMENT, judged, phase, record, row


def losses(found: dict) -> dict:
    return {one["variant"]: one.get("loss") for one in found["variants"]}


def test_nothing_on_the_front_is_beaten_and_all_else_is() -> None:
    rows = record()["variants"]
    front = {one["variant"] for one in rows if one["pareto"]}
    assert front == {"full", "full-int8", "distilled-int8"}
    places = {one["variant"]: place(one) for one in rows}
    assert dominates(places["full-int8"], places["distilled"])


@pytest.mark.parametrize(
    ("one", "other", "beats"),
    [
        ((1.0, 0.9), (2.0, 0.9), True),
        ((1.0, 0.9), (1.0, 0.8), True),
        ((1.0, 0.9), (1.0, 0.9), False),
        ((1.0, 0.8), (2.0, 0.9), False),
    ],
)
def test_to_dominate_is_to_be_as_good_in_both_and_better_in_one(one, other, beats) -> None:
    assert dominates(one, other) is beats


def test_twins_are_both_on_the_front() -> None:
    assert pareto([row("full"), row("full")]) == [True, True]


def test_a_row_that_was_not_valid_has_no_place_and_beats_nobody() -> None:
    bad = row("full-int8", scenarios={"single_stream": {"mixed": phase(valid=False)}})
    assert pareto([row("distilled"), bad]) == [True, None]
    assert not valid(bad)


def test_rows_of_two_models_do_not_compete() -> None:
    rows = record(row("full"), row("distilled-int8", "emotion"))["variants"]
    assert [one["pareto"] for one in rows] == [True, True]


def test_the_baseline_is_not_among_the_variants() -> None:
    baseline = row("full") | {"variant": "pytorch-fp32"}
    rows = record(row("full"), baseline)["variants"]
    assert "pareto" not in rows[1]


def test_a_loss_on_the_same_rows_is_paired() -> None:
    evidence = {"intent": {"data": "d", "rows": 4500, "variants": [judged("distilled-int8")]}}
    found = record(evidence=evidence)
    loss = losses(found)["distilled-int8"]
    assert loss == pytest.approx({"value": 0.03, "ci_low": 0.025, "ci_high": 0.035, "paired": True})
    assert found["models"]["intent"] == {"data": "d", "rows": 4500}


def test_a_loss_of_two_cards_has_a_wider_interval() -> None:
    loss = losses(record())["distilled-int8"]
    assert loss["paired"] is False
    assert loss["value"] == pytest.approx(0.03)
    assert loss["ci_high"] - loss["ci_low"] == pytest.approx(0.02 * 2**0.5)


def test_full_loses_nothing_against_itself() -> None:
    assert losses(record())["full"] is None


def test_another_metric_is_not_compared() -> None:
    other = row("distilled") | {"quality": {"metric": "f1", "value": 0.5, "n": 10}}
    assert losses(record(row("full"), other))["distilled"] is None


def test_a_verdict_says_faster_smaller_and_worse() -> None:
    evidence = {"intent": {"data": "d", "rows": 4500, "variants": [judged("distilled-int8")]}}
    (sentence,) = [s for s in record(evidence=evidence)["verdicts"] if "distilled-int8" in s]
    assert sentence == (
        "intent distilled-int8: 4.0x faster, 67 % of the memory, -3.0 points [-3.5, -2.5]."
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"max_rps_at_slo": 0.0}, "4.0x faster offline"),
        ({"max_rps_at_slo": 50.0}, "2.0x slower"),
        ({"max_rps_at_slo": 104.0}, ": as fast,"),
        ({"loss": {"value": 0.0001, "paired": True}}, "0.0 points"),
        ({"loss": {"value": -0.004, "paired": True}}, "+0.4 points"),
    ],
)
def test_a_verdict_says_what_it_compares(changes, part) -> None:
    assert part in verdict(row("distilled-int8", **changes), row("full"))


def test_nothing_known_makes_no_verdict() -> None:
    bare = {"model": "intent", "variant": "distilled"}
    assert complete(ENVIRONMENT, [{"model": "intent", "variant": "full"}, bare])["verdicts"] == []
