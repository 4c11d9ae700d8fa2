"""What `transfer tune` may choose: a range or a list for each recipe key.

    read_space("{learning_rate: [1e-5, 1e-3], batch_size: {choices: [8, 16, 32]}}")

`[low, high]` is drawn on a logarithmic scale where both are above 0 and high is 10 times low or
more, else evenly; whole numbers stay whole; `{choices: [...]}` is drawn as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import yaml

from services.errors import UsageError
from training.recipe import Recipe

WIDE = 10  # times; a range as wide is drawn on a logarithmic scale
NOT_SEARCHED = ("name", "kind", "data", "seed", "data_seed", "train_rows", "dev_rows", "test_rows")
DEFAULT: dict[str, Any] = {
    "learning_rate": [2e-5, 1e-3],
    "batch_size": {"choices": [8, 16, 32]},
    "warmup_ratio": [0.0, 0.2],
    "weight_decay": [0.0, 0.1],
    "label_smoothing": [0.0, 0.1],
}


@dataclass(frozen=True)
class Choice:
    """One key: `choices`, or a range from low to high with both ends."""

    key: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def logarithmic(self) -> bool:
        return self.low > 0 and self.high >= WIDE * self.low

    def suggest(self, trial: Any) -> Any:
        """A value from an Optuna trial."""
        if self.choices:
            return trial.suggest_categorical(self.key, list(self.choices))
        if self.whole:
            return trial.suggest_int(self.key, self.low, self.high, log=self.logarithmic)
        return trial.suggest_float(self.key, self.low, self.high, log=self.logarithmic)


def read_space(text: str) -> list[Choice]:
    """The space that YAML names, or the default one for nothing; raises UsageError."""
    try:
        content = yaml.safe_load(text) if text else DEFAULT
    except yaml.YAMLError as error:
        raise UsageError(f"search is not YAML: {error}.", _EXAMPLE) from error
    if not isinstance(content, Mapping) or not content:
        raise UsageError(f"search is {content!r}; expected keys with their values.", _EXAMPLE)
    return [_choice(str(key), value) for key, value in content.items()]


_EXAMPLE = "E.g. search='{learning_rate: [1e-5, 1e-3], batch_size: {choices: [8, 16]}}'."


def _choice(key: str, value: Any) -> Choice:
    if key not in {field.name for field in fields(Recipe)} or key in NOT_SEARCHED:
        raise UsageError(f"search names {key!r}, which is no key to search.", _EXAMPLE)
    if isinstance(value, Mapping) and isinstance(value.get("choices"), list) and value["choices"]:
        return Choice(key, choices=tuple(value["choices"]))
    try:
        low, high = (_number(one) for one in value)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"search: {key} is {value!r}; expected [low, high] or {{choices: [...]}}.", _EXAMPLE
        ) from error
    if not low < high:
        raise UsageError(f"search: {key} is {value!r}; expected the lower end first.", _EXAMPLE)
    return Choice(key, low, high)


def _number(value: Any) -> float:
    """YAML reads 1e-5 as text: it wants 1.0e-5."""
    if isinstance(value, bool):
        raise ValueError(value)
    return value if isinstance(value, int | float) else float(value)
