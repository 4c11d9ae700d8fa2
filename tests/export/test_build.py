"""Adapters in, published variants out; built once, and never half."""

from __future__ import annotations

import json
import shutil

import bentoml
import pytest

import export.build
from export.build import build
from export.publish import publish, write_lock
from export.stamps import Job, find_jobs, stamp_of, standing
from services.errors import ArtifactError, TransferError, UsageError
from services.lock import read_lock
from services.registry import check_variant, variant_path
from services.runtime import Runtime, result_of
from tests.export.models import flip_last_byte, write_adapters
from tests.export.store import bentoml_store
from tests.services import tiny
from training.data import sample_rows

BUILT = ["tiny/distilled", "tiny/distilled-int8", "tiny/full", "tiny/full-int8"]


@pytest.fixture(scope="module")
def packed(bases, tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    return write_adapters(root / "adapters", bases["bert"], root / "checkpoints")


@pytest.fixture(scope="module")
def first(packed, tmp_path_factory):
    """What one build leaves: adapters, work, store and lock."""
    root = tmp_path_factory.mktemp("first")
    shutil.copytree(packed, root / "adapters")
    with bentoml_store(root / "home"):
        built(root / "adapters", root)
    return root


@pytest.fixture
def adapters(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "adapters")


@pytest.fixture
def once(first, tmp_path, home):
    """The lock's tags in a copy of what one build left, adapters included."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    return read_lock(tmp_path / "lock.json")


@pytest.fixture
def exports(monkeypatch):
    """What was really exported, in order."""
    calls = []
    real = export.build.export_variants

    def counted(source, *arguments):
        calls.append(f"{source.description.model}/{source.description.role}")
        return real(source, *arguments)

    monkeypatch.setattr(export.build, "export_variants", counted)
    return calls


def built(adapters, tmp_path, models=("tiny",)):
    work, lock = tmp_path / "work", tmp_path / "lock.json"
    return build(adapters, work, lock, sample_rows, models, progress=False)


def test_jobs_are_the_adapters_and_the_base_itself(adapters):
    assert [(job.model, job.role) for job in find_jobs(adapters)] == [
        ("tiny", "distilled"),
        ("tiny", "full"),
        ("zeroshot", "full"),
    ]


def test_folders_that_are_no_adapters_are_passed_over(adapters):
    (adapters / "tiny" / "notes").mkdir()
    shutil.copytree(adapters / "tiny" / "full", adapters / "tiny" / ".full.part")
    assert [job.role for job in find_jobs(adapters, ["tiny"])] == ["distilled", "full"]


def test_an_unknown_model_is_refused_with_the_known_ones(adapters):
    with pytest.raises(UsageError, match=r"No adapter for nope\. There are tiny, zeroshot\."):
        find_jobs(adapters, ["tiny", "nope"])


def test_variants_are_built_published_and_locked(once):
    assert list(once) == BUILT
    manifests = {key: check_variant(variant_path(tag)) for key, tag in once.items()}
    assert {key: f"{m.model}/{m.variant}" for key, m in manifests.items()} == {k: k for k in BUILT}
    assert manifests["tiny/distilled"].parameters < manifests["tiny/full"].parameters
    assert manifests["tiny/distilled"].parent == "2" * 64
    graphs = {m.files[0].sha256 for m in manifests.values()}
    assert len(graphs) == 4


def test_the_second_build_builds_nothing(once, tmp_path, exports):
    assert built(tmp_path / "adapters", tmp_path) == once
    assert exports == []


def test_only_what_changed_is_built_again(once, tmp_path, exports):
    card = tmp_path / "adapters" / "tiny" / "full" / "card.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "int8_agreement": 0.25}))
    again = built(tmp_path / "adapters", tmp_path)
    assert exports == ["tiny/full"]
    assert again["tiny/distilled"] == once["tiny/distilled"]
    assert again["tiny/full"] in {str(model.tag) for model in bentoml.models.list()}


def test_a_damaged_stored_variant_is_built_again(once, tmp_path, exports):
    flip_last_byte(variant_path(once["tiny/full"]) / "model.onnx")
    again = built(tmp_path / "adapters", tmp_path)
    assert exports == ["tiny/full"]
    for tag in again.values():
        check_variant(variant_path(tag))


def test_a_corrupted_adapter_is_one_error_and_the_old_lock_stays(once, tmp_path, exports):
    before = (tmp_path / "lock.json").read_bytes()
    flip_last_byte(tmp_path / "adapters" / "tiny" / "full" / "delta.safetensors")
    with pytest.raises(ArtifactError, match=r"tiny/full/delta\.safetensors has sha256"):
        built(tmp_path / "adapters", tmp_path)
    assert (tmp_path / "lock.json").read_bytes() == before
    assert exports == []
    assert not list(tmp_path.rglob("*.part"))
    for tag in once.values():
        check_variant(variant_path(tag))


def test_an_adapter_in_the_wrong_folder_is_refused(adapters, tmp_path, home):
    (adapters / "tiny").rename(adapters / "other")
    with pytest.raises(UsageError, match=r"other/distilled is no place for .* tiny/distilled"):
        built(adapters, tmp_path, ["other"])
    assert not (tmp_path / "lock.json").exists()


def test_a_part_of_the_models_leaves_the_others_in_the_lock(once, tmp_path):
    write_lock(tmp_path / "lock.json", {"mine/full": "mine-full:0123456789abcdef"})
    assert list(built(tmp_path / "adapters", tmp_path)) == ["mine/full", *BUILT]


def test_what_stands_is_known_without_building(once, tmp_path):
    adapters, work, lock = tmp_path / "adapters", tmp_path / "work", tmp_path / "lock.json"
    assert standing(adapters, work, lock, ["tiny"], fp16=False) == once
    assert standing(adapters, work, lock, [], fp16=False) is None  # the base was not built
    assert standing(adapters, work, lock, ["tiny"], fp16=True) is None
    flip_last_byte(variant_path(next(iter(once.values()))) / "model.onnx")
    assert standing(adapters, work, lock, ["tiny"], fp16=False) is None


@pytest.fixture
def only_tiny(monkeypatch):
    """A whole build without the base itself, which takes seconds."""
    real = export.build.find_jobs
    monkeypatch.setattr(
        export.build, "find_jobs", lambda root, models=(): [j for j in real(root) if j.folder]
    )


def test_a_whole_build_keeps_what_others_published(once, tmp_path, only_tiny):
    mine = {"intent/full": publish(tiny.write_variant(tmp_path / "mine"))}
    old = {"gone/full": "gone-full:0123456789abcdef", "tiny/old": "tiny-old:1"}
    write_lock(tmp_path / "lock.json", {**mine, **old})
    # "gone" is not in the store, and of "tiny" this build says what there is.
    assert built(tmp_path / "adapters", tmp_path, models=()) == {**mine, **once}


def test_a_whole_build_mends_a_damaged_lock(once, tmp_path, only_tiny):
    (tmp_path / "lock.json").write_text("{")
    assert built(tmp_path / "adapters", tmp_path, models=()) == once


def test_the_stamp_knows_the_weights_the_card_and_the_precision(adapters):
    job = find_jobs(adapters, ["tiny"])[0]
    first = stamp_of(job, fp16=False)
    assert stamp_of(job, fp16=False) == first
    assert stamp_of(job, fp16=True) != first
    assert stamp_of(Job("other", job.role, job.folder), fp16=False) != first
    flip_last_byte(job.folder / "delta.safetensors")
    assert stamp_of(job, fp16=False) != first


@pytest.mark.parametrize("content", ["{", '{"x": {}}'])
def test_damaged_stamps_only_cost_a_build(once, tmp_path, exports, content):
    (tmp_path / "work" / "build.json").write_text(content)
    (tmp_path / "adapters" / "tiny" / "distilled" / "adapter.json").unlink()
    built(tmp_path / "adapters", tmp_path)
    assert exports == ["tiny/full"]


def test_too_few_sample_rows_publish_nothing(adapters, tmp_path, home):
    with pytest.raises(TransferError, match="sample texts to verify on"):
        build(
            *(adapters, tmp_path / "work", tmp_path / "lock.json"),
            lambda kind: sample_rows(kind)[:5],
            ["tiny"],
            progress=False,
        )
    assert not (tmp_path / "lock.json").exists()


def test_the_embedded_base_answers_for_any_label_names(tmp_path, home):
    tags = build(
        *(tmp_path / "adapters", tmp_path / "work", tmp_path / "lock.json", sample_rows),
        progress=False,
    )
    assert list(tags) == ["zeroshot/full", "zeroshot/full-int8"]
    sizes = {}
    for key, tag in tags.items():
        runtime = Runtime.load(variant_path(tag))
        sizes[key] = runtime.manifest.size_bytes
        text = "The striker scored twice in the second half."
        encoded = runtime.task.encode(text, ["politics", "sport", "cooking"])
        assert result_of(runtime, encoded)["label"] == "sport"
        assert runtime.manifest.base.id == "sentence-transformers/all-MiniLM-L6-v2"
    assert sizes["zeroshot/full-int8"] < 0.35 * sizes["zeroshot/full"]
