"""The release gate: what ships is measured on real test rows, through the code that serves it.

    transfer pack checkpoints/intent adapters/intent/full data=clinc150/data_oos_plus.json
    transfer cards data/ intent

How scores become answers is chosen once more, on held-out rows, for the model that is rebuilt from
the adapter. int8 shares these settings: its own temperatures differed from them by less than 0.01.
It is refused when even the lower end of the paired bootstrap interval of its loss passes one point.
The card that this writes is where every published quality comes from.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.adapter import CARD_NAME, pack, read_card
from export.build import RowsOf, adapter_source, refuse_misplaced
from export.card import card_text
from export.measure import measure_variants
from export.place import new_folder
from export.probes import answer_probes, read_probes
from export.publish import refuse_name
from export.variants import Source, export_variants
from export.verify import GateError
from services.manifest import read_manifest
from services.windows import TextTokenizer
from training.checkpoint import (
    Description,
    decoding_of,
    read_description,
    task_of,
    write_description,
    write_json,
)
from training.decoding import choose_decoding
from training.evaluate import run
from training.held_out import HeldOut
from training.models import TorchRunner
from training.studies.spread import spread_of

MAX_LOSS = 0.01
AGREEMENT_MARGIN = 0.04  # int8 rounds differently on CPUs without VNNI
MEASURED = (
    *("quality", "calibration", "int8_loss", "int8_agreement_on_test", "int8_agreement"),
    *("weak_spots", "also", "probes", "seeds"),
)


def release(
    checkpoint: Path,
    adapter: Path,
    work: Path,
    held: HeldOut,
    rows_of: RowsOf,
    rank: int = 0,
) -> dict[str, Any]:
    """Pack `checkpoint`, rebuild it from the adapter, measure that, and write its card.

    rank: see `export.adapter.pack`. Returns the card. What `adapter` held before stays until all
    gates held.
    """
    description = read_description(checkpoint)
    refuse_name(description.model)
    refuse_misplaced(description, adapter)
    packed = pack(checkpoint, _workplace(description, work), rank)
    return _judge_into(packed, adapter, work, held, rows_of)


def judge_again(adapter: Path, work: Path, held: HeldOut, rows_of: RowsOf) -> dict[str, Any]:
    """Choose the decoding and write the card of an adapter anew; its weights stay as they are."""
    description = read_description(adapter)
    refuse_misplaced(description, adapter)
    packed = _workplace(description, work)
    with new_folder(packed) as scratch:
        shutil.copytree(adapter, scratch, dirs_exist_ok=True)
    card = {name: part for name, part in read_card(packed).items() if name not in MEASURED}
    write_json(packed / CARD_NAME, card)
    return _judge_into(packed, adapter, work, held, rows_of)


def _workplace(description: Description, work: Path) -> Path:
    return work / "adapters" / description.model / description.role


def _judge_into(
    packed: Path, adapter: Path, work: Path, held: HeldOut, rows_of: RowsOf
) -> dict[str, Any]:
    """Complete the packed adapter and put it into its place."""
    source = _decided(adapter_source(packed, work, rows_of), held)
    write_description(packed, source.description)
    card = _measured_card(source, work, held)
    write_json(packed / CARD_NAME, card)
    text = card_text(packed, source.description, card)
    (packed / "README.md").write_text(text, encoding="utf-8")
    with new_folder(adapter) as scratch:
        shutil.copytree(packed, scratch, dirs_exist_ok=True)
    return card


def _decided(source: Source, held: HeldOut) -> Source:
    """With the decoding that suits the rebuilt model best on the rows for that."""
    description = source.description
    tokenizer = TextTokenizer.load(source.tokenizer_file)
    task = task_of(description, tokenizer)
    encoded, outputs = run(
        task, held.decoding, TorchRunner(source.model, description.kind, tokenizer.pad_id)
    )
    chosen = choose_decoding(
        task,
        held.decoding,
        encoded,
        outputs,
        description.out_of_scope,
        description.summary_sentences,
    )
    return replace(source, description=replace(description, decoding=decoding_of(chosen)))


def _measured_card(source: Source, work: Path, held: HeldOut) -> dict[str, Any]:
    """The card of a rebuilt model; raises GateError when int8 loses too much."""
    # How far int8 may differ is measured here; whether it is good enough, the test rows say.
    unmeasured = replace(source, card={**source.card, "int8_agreement": 0.0})
    folders = export_variants(unmeasured, work / "variants")
    measured = measure_release(folders, source.description, held)
    parity = read_manifest(folders[1]).parity
    floor = agreement_floor(parity.agreement if parity else 0.0)
    description = source.description
    card = {**source.card, **measured, "int8_agreement": floor}
    if probes := answer_probes(folders[1], read_probes(description.model)):
        card["probes"] = probes
    if seeds := spread_of(description.model, description.role):
        card["seeds"] = seeds
    return card


def measure_release(
    folders: Sequence[Path], description: Description, held: HeldOut
) -> dict[str, Any]:
    """The measured parts of the card; raises GateError when int8 loses too much."""
    record = measure_variants(folders, held)
    loss = record["int8_loss"]
    if loss["ci_low"] > MAX_LOSS:
        raise GateError(
            f"int8 of {description.model} {description.role} loses {loss['value']:.3f} "
            f"[{loss['ci_low']:.3f}, {loss['ci_high']:.3f}] of "
            f"{record['quality']['fp32']['metric']}; expected at most {MAX_LOSS}.",
            "Keep its largest layers in fp32, or ship fp32 alone.",
        )
    return record


def agreement_floor(measured: float) -> float:
    """What the build gate asks of int8 on other machines, from what was measured here."""
    return round(max(0.0, measured - AGREEMENT_MARGIN), 3)
