"""The texts on which a variant says something else than `full`: the most different ones.

In: request bodies and the results of both. Out: what was asked, and what each of them said. The
texts are the sample data of this repository; nobody has labelled them for the models that ship.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.compare import agreement, said

Row = dict[str, Any]

MOST = 6


def differences(
    task: str, bodies: Sequence[Row], first: Sequence[Row], other: Sequence[Row], most: int = MOST
) -> list[Row]:
    """At most that many, the least agreement first, then those that `full` was surest of."""
    found = []
    for body, one, two in zip(bodies, first, other, strict=True):
        same = agreement(task, [one], [two])
        if same < 1.0:
            found.append((same, -_score(one), asked(body), one, two))
    found.sort(key=lambda item: item[:2])
    return [
        {"asked": text, "full": said(one), "variant": said(two), "agreement": same}
        for same, _, text, one, two in found[:most]
    ]


def asked(body: Row) -> str:
    """What people see of a request body of one text."""
    return str(body.get("question") or body["text"])


def _score(result: Row) -> float:
    if "score" in result:
        return float(result["score"])
    return max((s["score"] for s in result.get("sentences", ())), default=0.0)
