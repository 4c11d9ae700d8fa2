"""Groups of rows by a column of the data: the metric of each, and the gap between them.

    groups = group_of_rows(recipe, rows, "dialect")
    audit(evaluation, groups)

A bias audit in the plain sense: does the model serve every group equally well? Groups that are too
small to say are named as such and left out of the gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.errors import UsageError
from training.evaluate import RESAMPLES, Evaluation
from training.formats import read_source
from training.recipe import Recipe
from training.rows import parse_all

LEAST_ROWS = 30  # an interval of fewer spans most of what is possible
ABSENT = "(absent)"
MOST_GROUPS = 200


def group_of_rows(recipe: Recipe, rows: Sequence[Any], column: str) -> list[str]:
    """The value of `column` for each row, read from the recipe's data again.

    Rows of equal content with different values get these in the order of the data. Raises
    UsageError where the data has no such column, or its rows are not those of the data.
    """
    found: dict[Any, list[str]] = defaultdict(list)
    seen = False
    for records in read_source(recipe).values():
        for record in records:
            parsed = parse_all([record], recipe, [])
            value = record.fields.get(column)
            seen = seen or column in record.fields
            for row in parsed:
                found[row].append(ABSENT if value is None or value == "" else str(value))
    if not seen:
        raise UsageError(
            f"{recipe.data} has no column {column!r}.",
            "Name one of its columns, e.g. `slice=dialect`.",
        )
    if unknown := sum(row not in found for row in rows):
        raise UsageError(
            f"{unknown} of {len(rows)} rows are made from others and have no {column!r}.",
            "Slice data whose rows are used as they are: without `derive`.",
        )
    taken: dict[Any, int] = defaultdict(int)
    groups = []
    for row in rows:
        values = found[row]
        groups.append(values[taken[row] % len(values)])
        taken[row] += 1
    return groups


def audit(
    evaluation: Evaluation, groups: Sequence[str], least: int = LEAST_ROWS, seed: int = 0
) -> dict[str, Any]:
    """`groups`: n, value and interval of each, the worst first; `gap`: best minus worst.

    groups: the group of each row of the evaluation. Raises UsageError for a column that is no
    grouping. The gap of several groups is never 0, so it comes with `by_chance`: the mean gap when
    rows are dealt to groups of the same sizes at random, and how often that gap was as wide.
    """
    names = sorted(set(groups))
    if len(names) > MOST_GROUPS:
        raise UsageError(
            f"The column has {len(names)} values for {len(groups)} rows; expected groups.",
            f"Choose a column with at most {MOST_GROUPS} values.",
        )
    places = {name: np.flatnonzero([group == name for group in groups]) for name in names}
    generator = np.random.default_rng(seed)
    found = [_group(evaluation, name, places[name], least, generator) for name in names]
    found.sort(key=lambda group: (group["value"], group["group"]))
    judged = [group for group in found if not group["too_small"]]
    record: dict[str, Any] = {"metric": evaluation.metric, "least_rows": least, "groups": found}
    if len(judged) >= 2:
        sizes = {group["group"]: places[group["group"]] for group in judged}
        record["gap"] = _gap(evaluation, judged, sizes, generator)
    return record


def _group(
    evaluation: Evaluation,
    name: str,
    rows: NDArray[np.int64],
    least: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    values = _resampled(evaluation, rows, generator)
    return {
        "group": name,
        "n": len(rows),
        "value": evaluation.measure(rows),
        "ci_low": float(np.percentile(values, 2.5)),
        "ci_high": float(np.percentile(values, 97.5)),
        "too_small": len(rows) < least,
    }


def _resampled(
    evaluation: Evaluation, rows: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.float64]:
    draws = [generator.choice(rows, len(rows)) for _ in range(RESAMPLES)]
    return np.array([evaluation.measure(draw) for draw in draws])


def _gap(
    evaluation: Evaluation,
    judged: Sequence[dict[str, Any]],
    places: dict[str, NDArray[np.int64]],
    generator: np.random.Generator,
) -> dict[str, Any]:
    worst, best = judged[0], judged[-1]
    high = _resampled(evaluation, places[best["group"]], generator)
    low = _resampled(evaluation, places[worst["group"]], generator)
    gap = best["value"] - worst["value"]
    chance = _gaps_by_chance(evaluation, list(places.values()), generator)
    interval = np.percentile(high - low, [2.5, 97.5])
    return {
        "best": best["group"],
        "worst": worst["group"],
        "value": gap,
        "ci_low": float(interval[0]),
        "ci_high": float(interval[1]),
        "by_chance": {"mean": float(chance.mean()), "p": float((chance >= gap - 1e-12).mean())},
    }


def _gaps_by_chance(
    evaluation: Evaluation, places: Sequence[NDArray[np.int64]], generator: np.random.Generator
) -> NDArray[np.float64]:
    """(RESAMPLES,) gaps under a permutation of the rows (Fisher 1935)."""
    rows, borders = np.concatenate(places), np.cumsum([len(place) for place in places])[:-1]
    gaps = []
    for _ in range(RESAMPLES):
        values = [evaluation.measure(p) for p in np.split(generator.permutation(rows), borders)]
        gaps.append(max(values) - min(values))
    return np.array(gaps)
