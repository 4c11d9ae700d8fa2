"""A checkpoint to its variants: both gates, complete manifests, and nothing half-written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

import export.variants
from export.variants import export_variants, quality_of
from export.verify import MAX_ABS, GateError, compare
from services.manifest import Parity, read_manifest, sha256_of
from services.registry import check_variant
from services.runtime import Runtime, result_of
from tests.export.models import DECODING, LABELS, MAX_TOKENS, QUALITY, sources
from training.evaluate import encode_row
from training.models import TorchRunner

FAMILIES = ("bert", "distilbert")
KINDS = ("sequence-classification", "question-answering", "sentence-extraction", "zero-shot")
OUTPUTS = {
    "sequence-classification": ["logits"],
    "question-answering": ["start_logits", "end_logits"],
    "sentence-extraction": ["logits"],
    "zero-shot": ["last_hidden_state"],
}


@pytest.fixture(scope="module")
def made(bases, tmp_path_factory):
    """made("bert", kind): (source, [full, full-int8]), exported when first asked for."""
    known = {}

    def make(family, kind):
        if (family, kind) not in known:
            root = tmp_path_factory.mktemp(f"{family}-{kind}")
            source = sources(root / "checkpoint", bases[family], kind)
            known[family, kind] = source, export_variants(source, root / "variants")
        return known[family, kind]

    return make


def weight_bytes(graph):
    return sum(len(tensor.raw_data) for tensor in onnx.load(graph).graph.initializer)


both = pytest.mark.parametrize("family", FAMILIES)
every = pytest.mark.parametrize("kind", KINDS)


@both
@every
def test_full_and_int8_are_written_and_nothing_else(made, family, kind):
    _, folders = made(family, kind)
    assert [folder.name for folder in folders] == ["full", "full-int8"]
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["full", "full-int8"]
    for folder in folders:
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["manifest.json", "model.onnx", "tokenizer.json"]


@both
@every
def test_the_manifest_is_complete(made, family, kind):
    source, folders = made(family, kind)
    for folder, precision in zip(folders, ("fp32", "int8"), strict=True):
        manifest = check_variant(folder)
        assert manifest.name == f"tiny/{folder.name}"
        assert (manifest.model, manifest.variant) == ("tiny", folder.name)
        assert (manifest.kind, manifest.precision) == (kind, precision)
        assert manifest.base.sha256 == source.description.base["sha256"]
        assert manifest.labels == (LABELS if kind == "sequence-classification" else [])
        assert manifest.max_tokens == MAX_TOKENS
        assert manifest.decoding == DECODING.get(kind, {})
        types = ["token_type_ids"] if family == "bert" else []
        assert sorted(manifest.inputs) == ["attention_mask", "input_ids", *types]
        assert manifest.outputs == OUTPUTS[kind]
        assert manifest.parameters == source.model.num_parameters()
        assert manifest.parity is not None
        assert manifest.parity.n == len(source.rows) >= 100
        assert {file.path: file.sha256 for file in manifest.files} == {
            name: sha256_of(folder / name) for name in ("model.onnx", "tokenizer.json")
        }


@both
@every
def test_the_fp32_graph_gives_what_torch_gives(made, family, kind):
    source, folders = made(family, kind)
    runtime = Runtime.load(folders[0])
    rows = [row for row in source.rows if kind != "zero-shot"][:20]
    encoded = [encode_row(runtime.task, row) for row in rows]
    encoded = encoded or [runtime.task.encode(row.text, ["a", "b"]) for row in source.rows[:20]]
    windows = [window for item in encoded for window in item.windows]
    torch_runner = TorchRunner(source.model, kind, runtime.task.tokenizer.pad_id)
    for before, after in zip(torch_runner(windows), runtime.infer(windows), strict=True):
        for name in OUTPUTS[kind]:
            assert before[name].shape == after[name].shape
            assert np.abs(before[name] - after[name]).max() <= MAX_ABS
    assert read_manifest(folders[0]).parity.max_abs <= MAX_ABS
    assert read_manifest(folders[0]).parity.agreement == 1.0


@both
@every
def test_int8_is_another_and_smaller_graph(made, family, kind):
    _, (full, small) = made(family, kind)
    sizes = [weight_bytes(folder / "model.onnx") for folder in (full, small)]
    assert sizes[1] < 0.4 * sizes[0]  # of so small a graph the nodes are as large as the weights
    assert (small / "model.onnx").stat().st_size < (full / "model.onnx").stat().st_size
    assert sha256_of(full / "model.onnx") != sha256_of(small / "model.onnx")
    assert (full / "tokenizer.json").read_bytes() == (small / "tokenizer.json").read_bytes()


@both
def test_int8_answers_nearly_as_fp32(made, family):
    source, (full, small) = made(family, "sequence-classification")
    one, other = Runtime.load(full), Runtime.load(small)
    parity = compare(one.task, source.rows, one.infer, other.infer)
    assert parity.agreement >= 0.8
    assert 0 < parity.max_abs < 1
    assert parity == read_manifest(small).parity


@both
def test_a_variant_answers(made, family):
    source, folders = made(family, "sequence-classification")
    runtime = Runtime.load(folders[1])
    answers = [
        result_of(runtime, encode_row(runtime.task, row), threshold=0.0) for row in source.rows
    ]
    assert {answer["label"] for answer in answers} <= set(LABELS)
    assert len({round(answer["score"], 4) for answer in answers}) > 20  # it reads its input


def test_kinds_are_different_graphs(made):
    digests = {sha256_of(made("bert", kind)[1][0] / "model.onnx") for kind in KINDS}
    assert len(digests) == len(KINDS)


def test_quality_comes_from_the_card(made):
    _, (full, small) = made("bert", "sequence-classification")
    assert read_manifest(full).quality.value == QUALITY["value"]
    assert read_manifest(full).quality.ci_low == QUALITY["ci_low"]
    assert read_manifest(small).quality is None  # the card measured fp32 alone
    extra = {**QUALITY, "macro_f1": 0.7}
    assert quality_of({"quality": {"int8": extra}}, "int8").n == QUALITY["n"]


# Gates that do not hold


@pytest.fixture
def source(bases, tmp_path):
    return sources(tmp_path / "checkpoint", bases["bert"], "sequence-classification")


def everything_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_graph_that_differs_from_torch_is_not_kept(source, tmp_path, monkeypatch):
    def differ(*arguments):
        return Parity(max_abs=0.5, agreement=1.0, n=100)

    monkeypatch.setattr(export.variants, "compare", differ)
    with pytest.raises(GateError, match=r"tiny/full differs from torch by 5\.0e-01"):
        export_variants(source, tmp_path / "variants")
    assert everything_below(tmp_path / "variants") == ["tiny"]


def test_a_quantizer_that_breaks_the_graph_is_found(source, tmp_path, monkeypatch):
    from onnx import numpy_helper

    def spoil(graph, out):
        model = onnx.load(graph)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name.startswith("classifier"):
                tensor.CopyFrom(
                    numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name)
                )
        onnx.save(model, out)

    monkeypatch.setattr(export.variants, "to_int8", spoil)
    strict = replace(source, card={"int8_agreement": 0.9})
    with pytest.raises(GateError, match=r"tiny/full-int8 agrees with fp32 on .* at least 90\.0%"):
        export_variants(strict, tmp_path / "variants")
    # fp32 passed its gate and is whole; of the refused int8 nothing is left.
    assert not [name for name in everything_below(tmp_path / "variants") if "int8" in name]
    assert check_variant(tmp_path / "variants" / "tiny" / "full").precision == "fp32"


def test_what_was_exported_before_stays_when_the_gate_fails(source, tmp_path, monkeypatch):
    folders = export_variants(source, tmp_path / "variants")
    before = [sha256_of(folder / "manifest.json") for folder in folders]
    monkeypatch.setattr(
        export.variants, "compare", lambda *a: Parity(max_abs=0.5, agreement=0.0, n=100)
    )
    with pytest.raises(GateError):
        export_variants(source, tmp_path / "variants")
    assert [sha256_of(folder / "manifest.json") for folder in folders] == before


def test_too_few_texts_to_verify_on_are_refused(source, tmp_path):
    with pytest.raises(GateError, match="99 sample texts to verify on; expected 100"):
        export_variants(replace(source, rows=source.rows[:99]), tmp_path / "variants")
    assert not (tmp_path / "variants").exists()
