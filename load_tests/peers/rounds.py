"""Phases taken in turn, A B C A B C, so that a machine that gets slower does it to all of them.

In: phases, each a call that measures once. Out: what each gave, by round; medians with their
spread; ratios of what was measured in the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeVar

from load_tests.cpu import wait_idle

T = TypeVar("T")

Spread = tuple[float, float]


def interleaved(
    phases: Mapping[str, Callable[[], T]],
    rounds: int,
    settle: Callable[[], object] = wait_idle,
) -> dict[str, list[T]]:
    """What each phase gave in each round; `settle` is called before each one."""
    seen: dict[str, list[T]] = {name: [] for name in phases}
    for _ in range(rounds):
        for name, phase in phases.items():
            settle()
            seen[name].append(phase())
    return seen


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """values / others, round by round."""
    return [value / other for value, other in zip(values, others, strict=True)]


def best(candidates: Mapping[str, Sequence[float]]) -> str:
    """The name with the highest median."""
    return max(candidates, key=lambda name: median(candidates[name]))


def spread(values: Sequence[float]) -> Spread:
    """The lowest and the highest."""
    return min(values), max(values)
