"""What a training did, as `metrics.json` tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fit:
    """What the loop did. tokens: real tokens read, padding left out."""

    seconds: float
    steps: int
    tokens: int
    best_dev: float
    history: list[dict[str, float]]

    def record(self) -> dict[str, Any]:
        return {
            "wall_time_s": round(self.seconds, 1),
            "steps": self.steps,
            "tokens": self.tokens,
            "tokens_per_s": round(self.tokens / max(self.seconds, 1e-9)),
            "dev_best": self.best_dev,
            "dev_history": self.history,
        }
