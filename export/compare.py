"""Variants of one model side by side, offline: what `transfer compare MODEL` does.

Quality, agreement and disagreement with the first variant on labelled rows, size on disk, and texts
per second in process on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from export.disagreement import Seen, disagreement, look
from services.errors import UsageError
from services.lock import VARIANTS, read_lock
from services.manifest import Manifest
from services.providers import limit_gpu_memory
from services.registry import variant_path
from services.runtime import Runtime
from services.settings import Settings
from services.tasks.zeroshot import ZeroShot
from training.evaluate import agreement, paired_loss

RowsOf = Callable[[str, Sequence[str], bool], Sequence[Any]]


def compare_variants(
    model: str,
    settings: Settings,
    rows_of: RowsOf,
    labelled: bool,
    summary_sentences: int = 3,
    numbers: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Measure every published variant of `model` on the same rows.

    rows_of: rows by (kind, labels, multi_label); labelled: whether their labels are the model's, so
    that quality means something; summary_sentences: as in a recipe; numbers: (rows,) which rows of
    the data they are, where some of it was left out
    """
    limit_gpu_memory(settings.gpu_memory_mb)
    folders = _folders(model, settings.lock)
    entries: list[dict[str, Any]] = []
    first: Seen | None = None
    for folder in folders:
        runtime = Runtime.load(folder, settings.provider)
        if isinstance(runtime.task, ZeroShot):
            raise UsageError("zeroshot has no labels of its own.", "Compare it over POST /compare.")
        multi_label = bool(runtime.manifest.decoding.get("multi_label"))
        rows = rows_of(runtime.manifest.kind, runtime.manifest.labels, multi_label)
        outside = out_of_scope(runtime.manifest, rows) if labelled and not multi_label else ""
        found = look(runtime, rows, outside, summary_sentences, labelled, numbers)
        first = first or found
        entries.append(_entry(runtime, found, first, len(rows), labelled))
    return {"model": model, "rows": entries[0]["n"], "variants": entries}


def out_of_scope(manifest: Manifest, rows: Sequence[Any]) -> str:
    """The one label of the rows that the classifier does not know; it should abstain on these.

    Raises UsageError when there are more: then the rows are not of its job.
    """
    if manifest.kind != "sequence-classification":
        return ""
    unknown = sorted({label for row in rows for label in row.labels} - set(manifest.labels))
    if len(unknown) > 1:
        raise UsageError(
            f"The rows have labels that {manifest.model} does not know: {', '.join(unknown[:10])}; "
            "expected at most one, for what is outside of its classes.",
            "Give rows with the model's own labels, or name columns text and label.",
        )
    return unknown[0] if unknown else ""


def _folders(model: str, lock: Path) -> list[Path]:
    tags = {key: tag for key, tag in read_lock(lock).items() if key.split("/")[0] == model}
    if not tags:
        known = sorted({key.split("/")[0] for key in read_lock(lock)})
        raise UsageError(f"No variant of {model!r} is published.", f"There are {', '.join(known)}.")
    ordered = sorted(tags, key=lambda key: VARIANTS.index(key.split("/")[1]))
    return [variant_path(tags[key]) for key in ordered]


def _entry(runtime: Runtime, found: Seen, first: Seen, rows: int, labelled: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "variant": runtime.manifest.variant,
        "n": rows,
        "agreement": agreement(first.evaluation, found.evaluation),
        "size_mb": round(runtime.manifest.size_bytes / 1e6, 1),
        "parameters": runtime.manifest.parameters,
        "texts_per_s": round(rows / found.seconds, 1),
    }
    if labelled:
        loss, low, high = paired_loss(first.evaluation, found.evaluation)
        entry["quality"] = found.evaluation.record()
        if found is not first:
            entry["loss"] = {"value": loss, "ci_low": low, "ci_high": high}
            entry["disagreement"] = disagreement(first, found)
    return entry


def bodies_of(model: str, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """What a client would ask a server about these rows, one request each."""
    if rows and hasattr(rows[0], "question"):
        return [{"question": r.question, "context": r.context, "model": model} for r in rows]
    return [{"text": row.text, "model": model} for row in rows]


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"{report['model']}, {report['rows']} rows"]
    for entry in report["variants"]:
        quality = entry.get("quality")
        shown = f"{quality['metric']} {quality['value']:.4f}  " if quality else ""
        lines.append(
            f"{entry['variant']:16}{shown}agreement {entry['agreement']:.3f}  "
            f"{entry['size_mb']:6.1f} MB  {entry['texts_per_s']:7.1f} texts/s"
        )
    return "\n".join(lines)
