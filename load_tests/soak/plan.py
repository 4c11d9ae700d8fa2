"""How long and how hard each part of `python -m load_tests.soak` asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Say = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """seconds: of overload; peak_s: of the saturated closed loop before it
    times: the rate of the overload, over the saturated one
    bodies: that are too large, of each kind
    minutes: of mixed load; control_s: of the server that leaks
    rate: requests a second of the mixed load
    aborts, slow, cases: broken-off requests, slow connections of each kind, raw cases
    slow_s: how long the slow ones stay
    variants: what is served; empty: everything that is published
    env: besides this process's environment, of the servers
    """

    seconds: float = 60.0
    peak_s: float = 10.0
    times: float = 10.0
    bodies: int = 20
    minutes: float = 10.0
    control_s: float = 60.0
    rate: float = 30.0
    aborts: int = 1000
    slow: int = 200
    slow_s: float = 20.0
    cases: int = 5000
    seed: int = 7
    variants: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


THOROUGH = Plan()
SHORT = Plan(
    seconds=8.0,
    peak_s=4.0,
    bodies=5,
    minutes=0.5,
    control_s=10.0,
    aborts=200,
    slow=50,
    slow_s=5.0,
    cases=600,
)


def figure(
    name: str, value: float, unit: str = "", *, target: str = "", reached: bool | None = None
) -> Row:
    """One measured number; `reached`: whether it meets its target, of those that have one."""
    row: Row = {"name": name, "value": value, "unit": unit}
    if reached is not None:
        row |= {"target": target, "reached": bool(reached)}
    return row
