from __future__ import annotations

from load_tests.peers.rounds import best, interleaved, ratios, spread


def test_phases_take_turns_and_each_waits_for_an_idle_machine() -> None:
    order: list[str] = []
    phases = {name: (lambda name=name: order.append(name) or len(order)) for name in "abc"}
    seen = interleaved(phases, 2, settle=lambda: order.append("-"))
    assert "".join(order) == "-a-b-c-a-b-c"
    assert seen == {"a": [2, 8], "b": [4, 10], "c": [6, 12]}


def test_ratios_are_taken_within_a_round() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_the_best_has_the_highest_median() -> None:
    assert best({"a": [1.0, 9.0, 1.0], "b": [2.0, 2.0, 2.0]}) == "b"


def test_a_spread_is_the_lowest_and_the_highest() -> None:
    assert spread([2.0, 1.0, 3.0]) == (1.0, 3.0)
