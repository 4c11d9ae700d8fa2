"""A checkpoint that generates to its variants: graphs, manifest, both gates."""

from __future__ import annotations

import shutil
from dataclasses import replace

import onnx
import pytest

import export.variants
from export.release import measure_release
from export.variants import export_variants
from export.verify import MAX_ABS, GateError
from export.verify_writing import EXACT
from services.errors import UsageError
from services.manifest import Parity, read_manifest, sha256_of
from services.registry import check_variant
from services.runtime import Runtime
from services.writer import Writer
from tests.export.models import sources
from training.evaluate import agreement, evaluate
from training.held_out import Exam, HeldOut

FAMILIES = ("bart", "t5", "pegasus", "grown")
FILES = ["decoder_model_merged.onnx", "encoder_model.onnx", "tokenizer.json"]


@pytest.fixture(scope="module")
def made(bases, tmp_path_factory):
    """made("bart"): (source, [full, full-int8]), exported when first asked for."""
    known = {}

    def make(family):
        if family not in known:
            root = tmp_path_factory.mktemp(family)
            source = sources(root / "checkpoint", bases[family], "seq2seq")
            source = replace(source, card={"int8_agreement": 0.0})  # random weights lose much
            known[family] = source, export_variants(source, root / "variants")
        return known[family]

    return make


every = pytest.mark.parametrize("family", FAMILIES)


@every
def test_both_precisions_are_written_and_nothing_else(made, family):
    _, folders = made(family)
    assert [folder.name for folder in folders] == ["full", "full-int8"]
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["full", "full-int8"]
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "manifest.json"])


@every
def test_the_manifest_says_how_the_model_writes(made, family):
    source, folders = made(family)
    config = source.model.generation_config
    for folder, precision in zip(folders, ("fp32", "int8"), strict=True):
        manifest = check_variant(folder)
        assert (manifest.kind, manifest.precision, manifest.task) == (
            *("seq2seq", precision),
            "summarize",
        )
        assert sorted(manifest.inputs) == ["attention_mask", "input_ids"]
        assert manifest.outputs == ["sequences"]
        assert {file.path: file.sha256 for file in manifest.files} == {
            name: sha256_of(folder / name) for name in FILES
        }
        assert manifest.decoding["decoder_start_token_id"] == config.decoder_start_token_id
        assert manifest.decoding["eos_token_ids"] == [config.eos_token_id]
        assert manifest.decoding["max_new_tokens"] == 12  # as it was trained
        positions = getattr(source.model.config, "max_position_embeddings", 512)
        assert manifest.decoding["most_new_tokens"] == min(positions, 512)
        assert manifest.decoding["num_beams"] == config.num_beams or 1
        assert manifest.parameters == source.model.num_parameters()


@every
def test_the_gate_compared_logits_and_searches(made, family):
    source, (full, small) = made(family)
    parity = read_manifest(full).parity
    assert parity.max_abs <= MAX_ABS
    assert parity.agreement >= EXACT  # near ties may fall either way
    assert parity.n == len(source.rows) >= 100
    assert read_manifest(small).parity.max_abs > 0


@every
def test_int8_is_smaller_in_both_branches(made, family):
    _, (full, small) = made(family)
    for name in FILES[:2]:
        assert (small / name).stat().st_size < (full / name).stat().st_size
    decoder = onnx.load(small / FILES[0])
    branches = [attribute.g for attribute in decoder.graph.node[-1].attribute]
    assert len(branches) == 2
    for branch in branches:
        kinds = {node.op_type for node in branch.node}
        assert "MatMulInteger" in kinds


@every
def test_a_variant_answers(made, family):
    source, folders = made(family)
    for folder in folders:
        runtime = Runtime.load(folder)
        assert isinstance(runtime, Writer)
        found = evaluate(runtime.task, source.rows[:10], runtime.infer)
        assert found.metric == "rouge1"
        assert len(set(found.answers)) > 1  # it reads its input
        assert agreement(found, evaluate(runtime.task, source.rows[:10], runtime.infer)) == 1.0


def test_the_release_gate_measures_what_is_written(made):
    source, folders = made("bart")
    rows = source.rows[:12]
    record = measure_release(folders, source.description, HeldOut(rows, Exam("made up", rows)))
    assert record["quality"]["int8"]["metric"] == "rouge1"
    assert record["quality"]["fp32"]["n"] == 12
    assert 0.0 <= record["int8_agreement_on_test"] <= 1.0


def test_graphs_that_write_something_else_are_not_kept(made, bases, tmp_path, monkeypatch):
    def differ(*arguments, **options):
        return Parity(max_abs=0.0, agreement=0.5, n=118)

    source = sources(tmp_path / "checkpoint", bases["bart"], "seq2seq")
    monkeypatch.setattr(export.variants, "compare_writing", differ)
    with pytest.raises(GateError, match=r"tiny/full .* writes the same about 50\.0% of 118 texts"):
        export_variants(source, tmp_path / "variants")
    assert [path.name for path in (tmp_path / "variants").rglob("*")] == ["tiny"]


def test_int8_that_lost_its_words_is_refused(made, tmp_path):
    source, (full, _) = made("bart")
    shutil.copytree(full, tmp_path / "tiny" / "full")
    strict = replace(source, card={"int8_agreement": 1.01})
    with pytest.raises(GateError, match=r"tiny/full-int8 agrees with fp32 on .* at least 101"):
        export_variants(strict, tmp_path)


def test_a_way_of_writing_that_is_not_served_is_refused(bases, tmp_path):
    source = sources(tmp_path / "checkpoint", bases["t5"], "seq2seq")
    source.model.generation_config.repetition_penalty = 1.3
    with pytest.raises(UsageError, match=r"asks for repetition_penalty=1\.3"):
        export_variants(source, tmp_path / "variants")
    assert not list((tmp_path / "variants").rglob("*.onnx"))
