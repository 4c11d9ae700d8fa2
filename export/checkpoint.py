"""Any checkpoint to published variants: what `transfer export CHECKPOINT` does."""

from __future__ import annotations

from pathlib import Path

from export.adapter import read_metrics
from export.build import RowsOf, checkpoint_source
from export.publish import publish, refuse_name, write_lock
from export.release import measure_release
from export.variants import export_variants
from training.checkpoint import read_description
from training.held_out import HeldOut


def export_checkpoint(
    checkpoint: Path,
    work: Path,
    lock: Path,
    rows_of: RowsOf,
    held: HeldOut | None,
    fp16: bool = False,
) -> dict[str, str]:
    """Export, verify, measure on `held` (None: not), publish; "model/variant" -> tag."""
    description = read_description(checkpoint)
    metrics = read_metrics(checkpoint)
    refuse_name(description.model)
    source = checkpoint_source(checkpoint, metrics, rows_of)
    folders = export_variants(source, work, fp16)
    if held is not None:
        measured = measure_release(folders, description, held)
        source = checkpoint_source(checkpoint, {**metrics, **measured}, rows_of)
        folders = export_variants(source, work, fp16)
    tags = {f"{description.model}/{folder.name}": publish(folder) for folder in folders}
    write_lock(lock, tags)
    return tags
