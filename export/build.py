"""Adapters in, published variants out: what `transfer build` and `make demo` do.

    transfer build                    # every adapter below adapters/, and zeroshot
    transfer build intent reader      # only these models

Variants that were built before from the same adapter by the same versions are kept as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from export.adapter import read_card, unpack
from export.publish import publish, write_lock
from export.stamps import (
    STAMPS_NAME,
    ZEROSHOT,
    Job,
    all_stored,
    find_jobs,
    read_stamps,
    stamp_of,
)
from export.variants import Source, export_variants
from services.errors import ArtifactError, UsageError
from services.lock import read_lock
from services.tasks.zeroshot import ZeroShotSettings
from training.bases import EMBEDDED, ResolvedBase, resolve
from training.checkpoint import Description, asdict_base, read_description, write_json
from training.models import load_model

RowsOf = Callable[[str], Sequence[Any]]


def build(
    adapters: Path,
    work: Path,
    lock: Path,
    rows_of: RowsOf,
    models: Sequence[str] = (),
    fp16: bool = False,
    progress: bool = True,
) -> dict[str, str]:
    """Build, verify and publish; returns "model/variant" -> tag of everything published.

    work: folder for checkpoints, variants and stamps; rows_of: sample rows by kind
    The lock keeps what others published: without `models` as far as it is still in the store.
    Raises UsageError, ArtifactError or GateError; then the lock is what it was.
    """
    jobs = find_jobs(adapters, models)
    stamps = read_stamps(work)
    published: dict[str, str] = {}
    per_job = 3 if fp16 else 2
    with tqdm(
        total=per_job * len(jobs), disable=not progress, unit="variant", file=sys.stderr
    ) as bar:
        for job in jobs:
            key = stamp_of(job, fp16)
            tags = stamps.get(key, {})
            if not tags or not all_stored(tags):
                tags = _build_one(
                    job, work, rows_of, fp16, lambda name, job=job: _show(bar, job, name)
                )
                stamps[key] = tags
                write_json(work / STAMPS_NAME, stamps)
            else:
                bar.update(per_job)
            published.update(tags)
    kept = {} if models else _others(lock, {job.model for job in jobs})
    write_lock(lock, {**kept, **published}, keep=bool(models))
    return read_lock(lock)


def _others(lock: Path, models: set[str]) -> dict[str, str]:
    """Published variants of models that are not built here: what `transfer export` made."""
    try:
        known = read_lock(lock)
    except ArtifactError:  # not there yet, or damaged: this build writes it anew
        return {}
    return {
        key: tag
        for key, tag in known.items()
        if key.split("/")[0] not in models and all_stored({key: tag})
    }


def _show(bar: Any, job: Job, variant: str) -> None:
    bar.set_description(f"{job.model}/{variant}")
    bar.update(1)


def _build_one(
    job: Job, work: Path, rows_of: RowsOf, fp16: bool, advance: Callable[[str], None]
) -> dict[str, str]:
    source = (
        zeroshot_source(rows_of)
        if job.folder is None
        else adapter_source(job.folder, work, rows_of)
    )
    folders = export_variants(source, work / "variants", fp16, advance)
    return {f"{job.model}/{folder.name}": publish(folder) for folder in folders}


def adapter_source(adapter: Path, work: Path, rows_of: RowsOf) -> Source:
    """The checkpoint that an adapter stands for, rebuilt below `work`."""
    refuse_misplaced(read_description(adapter), adapter)
    checkpoint = unpack(adapter, work / "checkpoints" / adapter.parent.name / adapter.name)
    return checkpoint_source(checkpoint, read_card(adapter), rows_of)


def refuse_misplaced(description: Description, adapter: Path) -> None:
    """An adapter lies in MODEL/ROLE: its folder and its variants have the same name."""
    expected = f"{description.model}/{description.role}"
    if f"{adapter.parent.name}/{adapter.name}" != expected:
        raise UsageError(
            f"{adapter} is no place for the adapter of {expected}.",
            f"Name a folder that ends in {expected}.",
        )


def checkpoint_source(checkpoint: Path, card: dict[str, Any], rows_of: RowsOf) -> Source:
    description = read_description(checkpoint)
    return Source(
        model=load_model(description.kind, checkpoint),
        description=description,
        tokenizer_file=checkpoint / "tokenizer.json",
        card=card,
        rows=rows_of(description.kind),
    )


def zeroshot_source(rows_of: RowsOf) -> Source:
    """The base as it is: what transfers without any training."""
    base = resolve(EMBEDDED)
    settings = ZeroShotSettings()
    return Source(
        model=load_model("zero-shot", base.path),
        description=zeroshot_description(base, settings),
        tokenizer_file=base.path / "tokenizer.json",
        card={"int8_agreement": 0.85},
        rows=rows_of("sequence-classification"),
    )


def zeroshot_description(base: ResolvedBase, settings: ZeroShotSettings) -> Description:
    return Description(
        model=ZEROSHOT,
        kind="zero-shot",
        task="classify",
        role="full",
        base=asdict_base(base),
        base_source=EMBEDDED,
        recipe_digest="",
        labels=[],
        max_tokens=settings.max_tokens,
        decoding={"template": settings.template, "scale": settings.scale},
        description="Any label names, without training: the base itself.",
        licence="Apache-2.0",
        attribution="sentence-transformers/all-MiniLM-L6-v2, Reimers & Gurevych 2019",
    )
