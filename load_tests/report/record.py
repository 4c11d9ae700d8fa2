"""The record of a report (section `Trade-off report` of the design): measured rows made complete.

In: the environment, rows as measured, evidence by model. Out: `{environment, variants, models,
verdicts}`: each row knows what it loses against `full` and whether it is on the Pareto front.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from load_tests.report.pareto import pareto
from load_tests.report.verdict import verdict

Row = dict[str, Any]

FULL, BASELINE = "full", "pytorch-fp32"
FROM_EVIDENCE = ("quality", "loss", "disagreement")


def complete(
    environment: Row, rows: Sequence[Row], evidence: Mapping[str, Row] | None = None
) -> Row:
    """The whole record.

    evidence: model -> what `export.compare` found: {data, rows, variants}
    """
    variants: list[Row] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        variants += _model_rows(mine, (evidence or {}).get(model))
    models = {
        model: {"data": found["data"], "rows": found["rows"]}
        for model, found in (evidence or {}).items()
    }
    return {
        "environment": environment,
        "models": models,
        "variants": variants,
        "verdicts": verdicts_of(variants),
    }


def _model_rows(rows: Sequence[Row], evidence: Row | None) -> list[Row]:
    found = {one["variant"]: one for one in (evidence or {}).get("variants", ())}
    merged = [_with_evidence(row, found.get(row["variant"])) for row in rows]
    full = next((row for row in merged if row["variant"] == FULL), None)
    merged = [_with_loss(row, full) for row in merged]
    # The baseline is `full` in another program: beside the variants, not among them.
    ranked = [row for row in merged if row["variant"] != BASELINE]
    for row, front in zip(ranked, pareto(ranked), strict=True):
        if front is not None:
            row["pareto"] = front
    return merged


def _with_evidence(row: Row, evidence: Row | None) -> Row:
    """What was found on labelled rows now counts more than what the manifest says."""
    if not evidence:
        return dict(row)
    taken = {name: evidence[name] for name in FROM_EVIDENCE if name in evidence}
    agreed = {"agreement_with_full": evidence["agreement"], "agreement_n": evidence["n"]}
    return {**row, **taken, **agreed}


def _with_loss(row: Row, full: Row | None) -> Row:
    """`loss` against `full`: paired where both read the same rows, else from two cards."""
    if "loss" in row:
        return {**row, "loss": {**row["loss"], "paired": True}}
    if full is None or row is full or not (row.get("quality") and full.get("quality")):
        return row
    mine, theirs = row["quality"], full["quality"]
    if mine["metric"] != theirs["metric"]:
        return row
    loss: Row = {"value": theirs["value"] - mine["value"], "paired": False}
    ends = [q.get(name) for q in (mine, theirs) for name in ("ci_low", "ci_high")]
    if None not in ends:
        # As if the rows were independent, which makes the interval wider than it is.
        half = math.hypot((ends[1] - ends[0]) / 2, (ends[3] - ends[2]) / 2)
        loss |= {"ci_low": loss["value"] - half, "ci_high": loss["value"] + half}
    return {**row, "loss": loss}


def verdicts_of(rows: Iterable[Row]) -> list[str]:
    """One sentence for each row that can be compared with its model's `full`."""
    every = list(rows)
    fulls = {row["model"]: row for row in every if row["variant"] == FULL}
    return [
        sentence
        for row in every
        if row["variant"] not in (FULL, BASELINE) and row["model"] in fulls
        if (sentence := verdict(row, fulls[row["model"]]))
    ]


def rounded(value: Any) -> Any:
    """Floats to six significant digits: more is noise, and makes diffs long."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value


def valid(row: Mapping[str, Any]) -> bool:
    """Whether every phase that a row's figures come from was valid; rates that were tried aside."""
    return phases_valid(row) and bool(row.get("slo", {}).get("confirmed", True))


def phases_valid(row: Mapping[str, Any]) -> bool:
    """The same of the closed scenarios alone."""
    scenarios = row.get("scenarios", {}).values()
    return all(phase["valid"] for scenario in scenarios for phase in scenario.values())
