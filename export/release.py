"""The release gate: what ships is measured on real test rows, through the code that serves it.

    transfer pack checkpoints/intent adapters/intent/full data=clinc150/data_oos_plus.json

int8 is refused when even the lower end of the paired bootstrap interval of its loss passes one
point. The card that it writes is where every published quality comes from.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.adapter import CARD_NAME, pack
from export.build import RowsOf, adapter_source, refuse_misplaced
from export.card import card_text
from export.place import new_folder
from export.publish import refuse_name
from export.variants import export_variants
from export.verify import GateError
from services.manifest import read_manifest
from services.runtime import Runtime
from services.tasks.base import Outputs
from services.windows import Window
from training.checkpoint import Description, read_description, write_json
from training.evaluate import Evaluation, Infer, agreement, evaluate, paired_loss

MAX_LOSS = 0.01
AGREEMENT_MARGIN = 0.04  # int8 rounds differently on CPUs without VNNI


def measure(runtime: Runtime, rows: Sequence[Any], description: Description) -> Evaluation:
    """The task's metric of one loaded variant."""
    return evaluate(
        runtime.task,
        rows,
        in_threads(runtime),
        description.out_of_scope,
        description.summary_sentences,
    )


def in_threads(runtime: Runtime, threads: int = 2) -> Infer:
    """Run windows on several cores: one call per core, as the service does."""

    def infer(windows: Sequence[Window]) -> list[Outputs]:
        size = max(1, -(-len(windows) // (threads * 8)))
        pieces = [windows[i : i + size] for i in range(0, len(windows), size)]
        with ThreadPoolExecutor(threads) as pool:
            return [output for piece in pool.map(runtime.infer, pieces) for output in piece]

    return infer


def measure_release(
    folders: Sequence[Path], rows: Sequence[Any], description: Description, data: str
) -> dict[str, Any]:
    """The parts of the card about quality; raises GateError when int8 loses too much.

    folders: the fp32 variant and its int8 one, in this order
    """
    found = [measure(Runtime.load(folder), rows, description) for folder in folders[:2]]
    full, small = found
    loss, low, high = paired_loss(full, small)
    record = {
        "quality": {
            "fp32": {**full.record(), "data": data},
            "int8": {**small.record(), "data": data},
        },
        "int8_loss": {"value": loss, "ci_low": low, "ci_high": high},
        "int8_agreement_on_test": agreement(full, small),
    }
    if low > MAX_LOSS:
        raise GateError(
            f"int8 of {description.model} {description.role} loses {loss:.3f} "
            f"[{low:.3f}, {high:.3f}] of {full.metric}; expected at most {MAX_LOSS}.",
            "Keep its largest layers in fp32, or ship fp32 alone.",
        )
    return record


def agreement_floor(measured: float) -> float:
    """What the build gate asks of int8 on other machines, from what was measured here."""
    return round(max(0.0, measured - AGREEMENT_MARGIN), 3)


def release(
    checkpoint: Path,
    adapter: Path,
    work: Path,
    rows: Sequence[Any],
    rows_of: RowsOf,
    rank: int = 0,
) -> dict[str, Any]:
    """Pack `checkpoint`, rebuild it from the adapter, measure that, and write its card.

    rows: the test rows; rank: see `export.adapter.pack`. Returns the card. What `adapter` held
    before stays until all gates held.
    """
    description = read_description(checkpoint)
    refuse_name(description.model)
    refuse_misplaced(description, adapter)
    packed = pack(checkpoint, work / "adapters" / description.model / description.role, rank)
    card = _measured_card(packed, work, rows, rows_of)
    write_json(packed / CARD_NAME, card)
    (packed / "README.md").write_text(card_text(packed, description, card), encoding="utf-8")
    with new_folder(adapter) as scratch:
        shutil.copytree(packed, scratch, dirs_exist_ok=True)
    return card


def _measured_card(
    adapter: Path, work: Path, rows: Sequence[Any], rows_of: RowsOf
) -> dict[str, Any]:
    """The card of a packed adapter, with the quality of what is rebuilt from it."""
    source = adapter_source(adapter, work, rows_of)
    # How far int8 may differ is measured here; whether it is good enough, the test rows say.
    unmeasured = replace(source, card={**source.card, "int8_agreement": 0.0})
    folders = export_variants(unmeasured, work / "variants")
    data = source.card["test"].get("data", "test split")
    measured = measure_release(folders, rows, source.description, data)
    parity = read_manifest(folders[1]).parity
    floor = agreement_floor(parity.agreement if parity else 0.0)
    return {**source.card, **measured, "int8_agreement": floor}
