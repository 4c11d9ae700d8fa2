"""Any checkpoint to published variants: what `transfer export CHECKPOINT` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.adapter import read_metrics
from export.build import RowsOf, checkpoint_source
from export.publish import publish, refuse_name, write_lock
from export.release import measure_release
from export.variants import export_variants
from training.checkpoint import read_description


def export_checkpoint(
    checkpoint: Path,
    work: Path,
    lock: Path,
    rows_of: RowsOf,
    test_rows: Sequence[Any] | None,
    fp16: bool = False,
) -> dict[str, str]:
    """Export, verify, measure on `test_rows` (None: not), publish; "model/variant" -> tag."""
    description = read_description(checkpoint)
    metrics = read_metrics(checkpoint)
    refuse_name(description.model)
    source = checkpoint_source(checkpoint, metrics, rows_of)
    folders = export_variants(source, work, fp16)
    if test_rows is not None:
        data = metrics["test"].get("data", "test split")
        quality = measure_release(folders, test_rows, description, data)
        source = checkpoint_source(checkpoint, {**metrics, **quality}, rows_of)
        folders = export_variants(source, work, fp16)
    tags = {f"{description.model}/{folder.name}": publish(folder) for folder in folders}
    write_lock(lock, tags)
    return tags
