"""Every card from the adapters that are there: `transfer cards FOLDER [MODEL ...]`.

In: adapters, and a folder with the data that `cards.yaml` names. Out: decoding, `card.json` and
`README.md` of each adapter, measured anew; the weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from export.build import RowsOf
from export.release import judge_again
from export.stamps import find_jobs
from services.errors import UsageError
from training.held_out import HeldOut, held_out_for

PLAN = Path(__file__).parent / "cards.yaml"


def plan_of(path: Path = PLAN) -> dict[str, dict[str, Any]]:
    """Model -> the data it is measured on: recipe keys with paths inside of a folder."""
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def rewrite_cards(
    adapters: Path,
    data: Path,
    work: Path,
    rows_of: RowsOf,
    models: Sequence[str] = (),
    plan: Path = PLAN,
    advance: Callable[[str], None] = lambda done: None,
) -> dict[str, dict[str, Any]]:
    """Measure all adapters, or those of `models`; returns "model/role" -> its card.

    data: the folder that the paths in `plan` start from. Raises UsageError for a model that `plan`
    does not name, GateError where int8 loses too much; cards written before that stay.
    """
    jobs = [job for job in find_jobs(adapters, models) if job.folder]
    entries = plan_of(plan)
    if unknown := sorted({job.model for job in jobs} - set(entries)):
        raise UsageError(
            f"{plan} does not say what to measure {', '.join(unknown)} on.",
            "Add its data there, or name other models.",
        )
    held: dict[str, HeldOut] = {}
    cards = {}
    for job in jobs:
        assert job.folder is not None
        if job.model not in held:
            held[job.model] = held_out_for(job.model, entries[job.model], data)
        key = f"{job.model}/{job.role}"
        cards[key] = judge_again(job.folder, work, held[job.model], rows_of)
        advance(key)
    return cards
