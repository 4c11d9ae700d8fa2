"""How long each stage of a request took: what came of its items in, milliseconds out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.work import Done

WORKED = ("tokenize", "infer", "decode")


def stages_ms(done: Sequence[Done]) -> dict[str, float]:
    """Of a list the shortest wait, and the sums of the work."""
    stages = {"queue": 1000 * min(one.queue for one in done)}
    for stage in WORKED:
        stages[stage] = 1000 * sum(getattr(one, stage) for one in done)
    return stages
