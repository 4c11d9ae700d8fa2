"""Whether a run says something about the server: a generator that fell behind measured itself.

In: what a phase saw. Out: the reasons why it is invalid. An invalid phase stays in the record, is
marked, and is never plotted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from load_tests.cpu import MAX_GENERATOR_CPU

LEAST_ACHIEVED = 0.98


def faults(phase: Mapping[str, Any]) -> list[str]:
    """Empty for a valid phase.

    achieved: share of the requests that the generator released in time (open loop; None else)
    generator_cpu: share of one core that it used
    """
    found = []
    achieved = phase.get("achieved")
    if achieved is not None and achieved < LEAST_ACHIEVED:
        found.append(
            f"the generator released {achieved:.1%} of the requests in time; "
            f"expected at least {LEAST_ACHIEVED:.0%}"
        )
    if phase["generator_cpu"] > MAX_GENERATOR_CPU:
        found.append(
            f"the generator used {phase['generator_cpu']:.0%} of a core; "
            f"expected at most {MAX_GENERATOR_CPU:.0%}"
        )
    return found
