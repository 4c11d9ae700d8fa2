"""Any checkpoint to published variants."""

from __future__ import annotations

import json

import pytest

import export.release
from export.checkpoint import export_checkpoint
from export.publish import write_lock
from export.verify import GateError
from services.errors import TransferError, UsageError
from services.lock import read_lock
from services.manifest import read_manifest
from services.registry import variant_path
from tests.export.models import LABELS, write_checkpoint
from training.data import sample_rows
from training.held_out import Exam, HeldOut
from training.rows import LabelledText

ROWS = [LabelledText(row.text, (LABELS[0],)) for row in sample_rows("sequence-classification")]
HELD = HeldOut(ROWS, Exam("made up", ROWS))


@pytest.fixture
def checkpoint(bases, tmp_path):
    made = write_checkpoint(tmp_path / "c", bases["distilbert"], "sequence-classification")
    metrics = json.loads((made / "metrics.json").read_text())
    (made / "metrics.json").write_text(json.dumps({**metrics, "int8_agreement": 0.3}))
    return made


def exported(checkpoint, tmp_path, held=None):
    lock = tmp_path / "lock.json"
    return export_checkpoint(checkpoint, tmp_path / "work", lock, sample_rows, held)


def test_it_is_published_beside_the_others(checkpoint, tmp_path, home):
    write_lock(tmp_path / "lock.json", {"other/full": "other-full:0123456789abcdef"})
    tags = exported(checkpoint, tmp_path)
    assert list(tags) == ["tiny/full", "tiny/full-int8"]
    assert list(read_lock(tmp_path / "lock.json")) == ["other/full", *tags]
    assert read_manifest(variant_path(tags["tiny/full"])).quality is None


def test_measured_on_test_rows_its_quality_is_in_the_manifest(checkpoint, tmp_path, home):
    monkey = pytest.MonkeyPatch()
    monkey.setattr(export.release, "MAX_LOSS", 1.0)
    with monkey.context():
        tags = exported(checkpoint, tmp_path, HELD)
    monkey.undo()
    found = [read_manifest(variant_path(tag)).quality for tag in tags.values()]
    assert [quality.metric for quality in found] == ["accuracy", "accuracy"]
    assert [quality.n for quality in found] == [len(ROWS)] * 2
    assert found[0].data == "made up"


def test_a_failed_gate_publishes_nothing(checkpoint, tmp_path, home, monkeypatch):
    import bentoml

    monkeypatch.setattr(export.release, "MAX_LOSS", -2.0)
    with pytest.raises(GateError, match="int8 of tiny full loses"):
        exported(checkpoint, tmp_path, HELD)
    assert not (tmp_path / "lock.json").exists()
    assert bentoml.models.list() == []


def test_a_folder_that_is_no_checkpoint(tmp_path, home):
    with pytest.raises(TransferError, match=r"is not a checkpoint: checkpoint\.json"):
        exported(tmp_path / "nothing", tmp_path)


def test_an_unfinished_checkpoint(checkpoint, tmp_path, home):
    (checkpoint / "metrics.json").unlink()
    with pytest.raises(TransferError, match=r"not a finished checkpoint: metrics\.json"):
        exported(checkpoint, tmp_path)
    assert not (tmp_path / "work").exists()


def test_a_name_that_cannot_be_published_is_refused_before_any_work(checkpoint, tmp_path, home):
    described = json.loads((checkpoint / "checkpoint.json").read_text())
    (checkpoint / "checkpoint.json").write_text(json.dumps({**described, "model": "My Model"}))
    with pytest.raises(UsageError, match="cannot be published as 'My Model'"):
        exported(checkpoint, tmp_path)
    assert not (tmp_path / "work").exists()
