"""What a training did, as `metrics.json` tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fit:
    """What the loop did.

    steps: all of them; seconds, tokens: since `resumed_step`, where a killed training went on
    tokens: real ones, padding left out
    losses: of the training rows, each the mean since the last; energy: of the whole machine
    cpu_seconds: of this process over all its threads, which other work does not lengthen; None
    where a training is not of one strategy
    """

    seconds: float
    steps: int
    tokens: int
    best_dev: float
    history: list[dict[str, float]]
    resumed_step: int = 0
    losses: list[dict[str, float]] = field(default_factory=list)
    energy: dict[str, Any] | None = None
    cpu_seconds: float | None = None

    def record(self) -> dict[str, Any]:
        return {
            "wall_time_s": round(self.seconds, 1),
            "cpu_time_s": None if self.cpu_seconds is None else round(self.cpu_seconds, 1),
            "steps": self.steps,
            "resumed_step": self.resumed_step,
            "tokens": self.tokens,
            "tokens_per_s": round(self.tokens / max(self.seconds, 1e-9)),
            "dev_best": self.best_dev,
            "dev_history": self.history,
            "loss_history": self.losses,
            "energy": self.energy,
        }
