"""Ways to ship a difference: packed, unpacked and scored, with their bytes."""

from __future__ import annotations

import shutil

import pytest

from export.ways import compare_ways, find_loras, plot, table, verdict
from services.errors import TransferError, UsageError
from tests.export.models import LABELS, write_checkpoint
from tests.export.test_adapter import lora_checkpoint
from training.held_out import Exam
from training.rows import LabelledText

KIND = "sequence-classification"
EXAM = Exam("made up", [LabelledText(f"my card {i}", (LABELS[i % 4],)) for i in range(12)])


@pytest.fixture(scope="module")
def record(bases, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ways")
    checkpoint = write_checkpoint(folder / "c", bases["bert"], KIND)
    lora_checkpoint(folder / "loras" / "r4", bases["bert"], KIND)
    told = []
    loras = find_loras(folder / "loras")
    found = compare_ways(checkpoint, loras, folder / "work", EXAM, (2, 8), told.append)
    assert told == ["svd-2", "svd-8", "int8", "lora-4"]
    return found


def test_every_way_has_bytes_quality_and_loss(record):
    ways = {way["way"]: way for way in record["ways"]}
    assert list(ways) == ["whole", "svd-2", "svd-8", "int8", "lora-4"]
    sizes = [ways[name]["bytes"] for name in ("svd-2", "svd-8", "int8", "whole")]
    assert sizes == sorted(sizes)
    assert ways["whole"]["loss"] == {"value": 0.0, "ci_low": 0.0, "ci_high": 0.0}
    for way in ways.values():
        assert (way["metric"], way["n"]) == ("accuracy", 12)
        assert way["loss"]["value"] == pytest.approx(ways["whole"]["value"] - way["value"])


def made(*ways):
    entries = [
        {
            "way": name,
            "bytes": size,
            "metric": "accuracy",
            "value": 0.95 - loss,
            "ci_low": 0.94 - loss,
            "ci_high": 0.96 - loss,
            "n": 4500,
            "loss": {"value": loss, "ci_low": loss - 0.001, "ci_high": loss + 0.001},
        }
        for name, size, loss in ways
    ]
    return {"model": "intent", "data": "made up", "ways": entries}


def test_the_verdict_names_the_smallest_that_loses_next_to_nothing():
    found = made(("whole", 90_000_000, 0.0), ("svd-8", 400_000, 0.02), ("svd-64", 3_000_000, 0.004))
    assert verdict(found) == (
        "The smallest that loses less than 0.5% is svd-64: 3.00 MB, accuracy 0.9460."
    )
    poor = made(("whole", 90_000_000, 0.0), ("svd-8", 400_000, 0.02), ("int8", 9_000_000, 0.01))
    assert verdict(poor) == "None stays within 0.5% of the whole; int8 comes nearest."


def test_the_table_shows_every_way_and_the_plot_all_that_lose_little(record):
    text, svg = table(record), plot(record)
    first = text.splitlines()[2]
    assert first.startswith(f"| {min(record['ways'], key=lambda w: w['bytes'])['way']} |")
    for way in record["ways"]:
        assert f"| {way['way']} |" in text
        assert (f">{way['way']}</text>" in svg) == (way["loss"]["value"] < 0.1)


def test_a_folder_without_loras_is_refused(bases, tmp_path, record):
    with pytest.raises(UsageError, match="holds no finished checkpoint"):
        find_loras(tmp_path)
    full = write_checkpoint(tmp_path / "loras" / "full", bases["bert"], KIND)
    checkpoint = shutil.copytree(full, tmp_path / "c")
    with pytest.raises(TransferError, match="full is no LoRA checkpoint: adapter_config"):
        compare_ways(checkpoint, find_loras(tmp_path / "loras"), tmp_path / "w", EXAM, ())
