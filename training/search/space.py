"""What `transfer tune` may choose: a range or a list for each recipe key.

    read_space("{learning_rate: [1e-5, 1e-3], batch_size: {choices: [8, 16, 32]}}", recipe)

`[low, high]` is drawn on a logarithmic scale where both are above 0 and high is 10 times low or
more, else evenly; whole numbers stay whole; `{choices: [...]}` is drawn as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import yaml

from services.errors import UsageError
from training.recipe import Recipe, changed, key_types

WIDE = 10  # times; a range as wide is drawn on a logarithmic scale
NOT_SEARCHED = (
    *("name", "kind", "data", "seed", "data_seed", "train_rows", "dev_rows", "test_rows"),
    "student_layers",
)
DEFAULT: dict[str, Any] = {
    "learning_rate": [2e-5, 1e-3],
    "batch_size": {"choices": [8, 16, 32]},
    "warmup_ratio": [0.0, 0.2],
    "weight_decay": [0.0, 0.1],
    "label_smoothing": [0.0, 0.1],
}
DEFAULT_OF_STUDENTS: dict[str, Any] = {"temperature": [1.0, 8.0], "alpha": [0.0, 1.0]}
OF_STUDENTS = ("temperature", "alpha", "hidden_weight", "relation_weight", "unlabelled")
# A student moves whole, starts from its teacher and pools as that does.
NOT_OF_STUDENTS = (
    *("strategy", "start", "pooling", "last_layers", "unfreeze_ratio", "layer_decay"),
    *("reinit_layers", "head_epochs", "lora_r", "lora_alpha", "lora_dropout"),
)
MOST_CORNERS = 2000  # are checked before a search, in about a second


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

    @property
    def ends(self) -> tuple[Any, ...]:
        """All choices, or both ends of the range."""
        return self.choices or (self.low, self.high)

    def suggest(self, trial: Any) -> Any:
        """A value from an Optuna trial."""
        if self.choices:
            return trial.suggest_categorical(self.key, list(self.choices))
        if self.whole:
            return trial.suggest_int(self.key, self.low, self.high, log=self.logarithmic)
        return trial.suggest_float(self.key, self.low, self.high, log=self.logarithmic)


def read_space(text: str, recipe: Recipe, taught: bool = False) -> list[Choice]:
    """The space that YAML names, or for nothing the default one of such a recipe.

    taught: by a teacher. Raises UsageError for keys that cannot be searched.
    """
    if not text:
        return _default_space(recipe, taught)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"search is not YAML: {error}.", _EXAMPLE) from error
    if not isinstance(content, Mapping) or not content:
        raise UsageError(f"search is {content!r}; expected keys with their values.", _EXAMPLE)
    for key in map(str, content):
        _refuse_unsearched(key, taught)
    return [_choice(str(key), value) for key, value in content.items()]


def _default_space(recipe: Recipe, taught: bool) -> list[Choice]:
    """Without the keys that the recipe's kind or its other keys refuse."""
    content = {**DEFAULT, **(DEFAULT_OF_STUDENTS if taught else {})}
    return [choice for choice in map(_choice, content, content.values()) if _fits(choice, recipe)]


def _fits(choice: Choice, recipe: Recipe) -> bool:
    try:
        return bool(corners(recipe, [choice]))
    except UsageError:
        return False


def corners(recipe: Recipe, space: Sequence[Choice]) -> list[Recipe]:
    """The recipes at the ends of a space, `MOST_CORNERS` of them.

    Raises UsageError for one that would be refused as a file: a search must not come upon it.
    """
    drawn: Iterator[tuple[Any, ...]] = product(*(choice.ends for choice in space))
    keys = [choice.key for choice in space]
    return [
        drawn_recipe(recipe, dict(zip(keys, values, strict=True)))
        for values in islice(drawn, MOST_CORNERS)
    ]


def drawn_recipe(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """`recipe` with the values of a trial; raises UsageError where a file would be refused."""
    named = " ".join(f"{key}={value}" for key, value in values.items())
    return changed(recipe, values, f"search may draw {named}")


_EXAMPLE = "E.g. search='{learning_rate: [1e-5, 1e-3], batch_size: {choices: [8, 16]}}'."


def _refuse_unsearched(key: str, taught: bool) -> None:
    if key not in key_types() or key in NOT_SEARCHED:
        raise UsageError(f"search names {key!r}, which is no key to search.", _EXAMPLE)
    if key in OF_STUDENTS and not taught:
        raise UsageError(
            f"search names {key}, which only concerns a teacher.",
            "Name one, `teacher=DIR`, or leave the key out.",
        )
    if key in NOT_OF_STUDENTS and taught:
        raise UsageError(
            f"search names {key}; a student moves whole and is shaped by its teacher.",
            "Leave the key out, or search without `teacher=`.",
        )


def _choice(key: str, value: Any) -> Choice:
    if isinstance(value, Mapping) and isinstance(value.get("choices"), list) and value["choices"]:
        return Choice(key, choices=tuple(map(_plain, value["choices"])))
    try:
        low, high = (_number(one) for one in value)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"search: {key} is {value!r}; expected [low, high] or {{choices: [...]}}.", _EXAMPLE
        ) from error
    if not low < high:
        raise UsageError(f"search: {key} is {value!r}; expected the lower end first.", _EXAMPLE)
    made = Choice(key, low, high)
    if key_types()[key] is int and not made.whole:
        raise UsageError(f"search: {key} is {value!r}; expected whole numbers.", _EXAMPLE)
    return made


def _plain(value: Any) -> Any:
    """Optuna keeps nothing else."""
    if isinstance(value, list | dict):
        raise UsageError(
            f"search has the choice {value!r}; expected texts, numbers, true or false.", _EXAMPLE
        )
    return value


def _number(value: Any) -> float:
    """YAML reads 1e-5 as text: it wants 1.0e-5."""
    if isinstance(value, bool):
        raise ValueError(value)
    return value if isinstance(value, int | float) else float(value)
