"""Variants in BentoML's model store, and the lock file that names them."""

from __future__ import annotations

import hashlib
import json

import bentoml
import pytest

from export.publish import publish, tag_of, write_lock
from services.errors import ArtifactError, UsageError
from services.lock import read_lock
from services.registry import check_variant, variant_path
from tests.services import tiny


def write_tiny(folder, model="intent", variant="full", **changes):
    return tiny.write_variant(folder / variant, model, variant, **changes)


def test_the_tag_ends_in_the_digest_of_the_manifest(tmp_path):
    folder = write_tiny(tmp_path, variant="distilled-int8")
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert tag_of(folder) == f"intent-distilled-int8:{digest[:16]}"


def test_the_stored_copy_is_the_variant(home, tmp_path):
    folder = write_tiny(tmp_path)
    tag = publish(folder)
    stored = variant_path(tag)
    assert stored.is_relative_to(home)
    assert check_variant(stored) == check_variant(folder)
    for name in ("manifest.json", "model.onnx", "tokenizer.json"):
        assert (stored / name).read_bytes() == (folder / name).read_bytes()


def test_only_what_the_manifest_lists_is_stored(home, tmp_path):
    folder = write_tiny(tmp_path)
    (folder / "notes.txt").write_text("mine")
    stored = variant_path(publish(folder))
    assert not (stored / "notes.txt").exists()


def test_bentoml_lists_what_is_published(home, tmp_path):
    tags = {publish(write_tiny(tmp_path, variant=name)) for name in ("full", "full-int8")}
    assert {str(model.tag) for model in bentoml.models.list()} == tags
    labels = bentoml.models.get(next(iter(tags))).info.labels
    assert (labels["task"], labels["model"]) == ("classify", "intent")


def test_publishing_twice_changes_nothing(home, tmp_path):
    folder = write_tiny(tmp_path)
    tag = publish(folder)
    before = (variant_path(tag) / "model.onnx").stat().st_mtime_ns
    assert publish(folder) == tag
    assert (variant_path(tag) / "model.onnx").stat().st_mtime_ns == before
    assert len(bentoml.models.list()) == 1


def test_a_damaged_stored_copy_is_replaced(home, tmp_path):
    folder = write_tiny(tmp_path)
    tag = publish(folder)
    graph = variant_path(tag) / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    assert publish(folder) == tag
    assert check_variant(variant_path(tag)) == check_variant(folder)


def test_a_damaged_variant_is_not_stored(home, tmp_path):
    folder = write_tiny(tmp_path)
    (folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ArtifactError, match=r"model\.onnx has 8 bytes"):
        publish(folder)
    assert bentoml.models.list() == []


@pytest.mark.parametrize("name", ["My Model", "Intent", "a/b", "x" * 41, "-intent", ""])
def test_a_name_that_makes_no_tag_is_refused(home, tmp_path, name):
    folder = tiny.write_variant(tmp_path / "v", "intent", "full")
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**content, "model": name}))
    with pytest.raises(UsageError, match="cannot be published as"):
        publish(folder)
    assert bentoml.models.list() == []


def test_the_lock_is_sorted_and_readable(tmp_path):
    lock = tmp_path / "lock.json"
    write_lock(lock, {"reader/full": "reader-full:1", "intent/full": "intent-full:2"})
    assert list(json.loads(lock.read_text())["variants"]) == ["intent/full", "reader/full"]
    assert read_lock(lock) == {"intent/full": "intent-full:2", "reader/full": "reader-full:1"}
    assert [path.name for path in tmp_path.iterdir()] == ["lock.json"]


def test_new_entries_join_the_old_ones(tmp_path):
    lock = tmp_path / "lock.json"
    write_lock(lock, {"intent/full": "intent-full:1", "reader/full": "reader-full:1"})
    write_lock(lock, {"intent/full": "intent-full:2", "emotion/full": "emotion-full:1"})
    assert read_lock(lock) == {
        "emotion/full": "emotion-full:1",
        "intent/full": "intent-full:2",
        "reader/full": "reader-full:1",
    }


def test_without_keep_the_old_ones_are_dropped(tmp_path):
    lock = tmp_path / "lock.json"
    write_lock(lock, {"reader/full": "reader-full:1"})
    write_lock(lock, {"intent/full": "intent-full:2"}, keep=False)
    assert list(read_lock(lock)) == ["intent/full"]


def test_an_empty_lock_is_not_written(tmp_path):
    with pytest.raises(ArtifactError, match="nothing to publish"):
        write_lock(tmp_path / "lock.json", {})
    assert not (tmp_path / "lock.json").exists()


def test_a_damaged_lock_is_not_overwritten(tmp_path):
    lock = tmp_path / "lock.json"
    lock.write_text("{")
    with pytest.raises(ArtifactError, match="is not a lock file"):
        write_lock(lock, {"intent/full": "intent-full:2"})
    assert lock.read_text() == "{"
