"""fp16 siblings of built variants; the gate runs them on the CPU, for want of a GPU."""

from __future__ import annotations

import shutil

import pytest

import export.half
import services.runtime
from export.half import built_variants, halve_all
from export.variants import export_variants
from export.verify import GateError
from services.errors import UsageError
from services.manifest import Parity, read_manifest
from services.providers import CPU, CUDA, UnavailableError, cuda_fault
from services.registry import check_variant
from tests.export.models import sources


@pytest.fixture(scope="module")
def built(bases, tmp_path_factory):
    """(source, folder of variants): tiny/full and tiny/full-int8."""
    root = tmp_path_factory.mktemp("half")
    source = sources(root / "checkpoint", bases["bert"], "sequence-classification")
    export_variants(source, root / "variants")
    return source, root / "variants"


@pytest.fixture
def variants(built, tmp_path):
    shutil.copytree(built[1], tmp_path / "variants")
    return tmp_path / "variants"


@pytest.fixture
def as_if_on_cuda(monkeypatch):
    """fp16 graphs run on the CPU, which casts where it has no kernel."""
    monkeypatch.setattr(export.half, "cuda_fault", lambda: None)
    monkeypatch.setattr(services.runtime, "choose_provider", lambda *a: CPU)


@pytest.mark.usefixtures("as_if_on_cuda")
def test_every_fp32_variant_gets_an_fp16_sibling(built, variants):
    source, _ = built
    kinds, done = [], []

    def rows_of(kind):
        kinds.append(kind)
        return source.rows

    (half,) = halve_all(variants, rows_of, done.append)
    parent, manifest = read_manifest(variants / "tiny/full"), check_variant(half)
    assert (half, done) == (variants / "tiny/full-fp16", ["tiny/full-fp16"])
    assert kinds == ["sequence-classification"]
    assert (manifest.variant, manifest.precision, manifest.provider) == ("full-fp16", "fp16", CUDA)
    assert (manifest.labels, manifest.decoding) == (parent.labels, parent.decoding)
    assert manifest.quality is None
    assert manifest.parity is not None
    assert manifest.parity.agreement >= 0.99 and manifest.parity.n == len(source.rows)
    assert 0 < manifest.parity.max_abs < 0.05
    assert manifest.size_bytes < parent.size_bytes
    assert len(list(built_variants(variants))) == 3


@pytest.mark.usefixtures("as_if_on_cuda")
def test_one_that_says_otherwise_is_not_kept(built, variants, monkeypatch):
    monkeypatch.setattr(export.half, "compare", lambda *a: Parity(0.5, 0.9, 100))
    with pytest.raises(GateError, match="agrees with fp32 on 90"):
        halve_all(variants, lambda kind: built[0].rows)
    assert sorted(path.name for path in (variants / "tiny").iterdir()) == ["full", "full-int8"]


def test_without_a_gpu_nothing_is_written(built, variants):
    if cuda_fault() is None:
        pytest.skip("there is a GPU")
    with pytest.raises(UnavailableError, match="fp16 variants are verified on a GPU; here "):
        halve_all(variants, lambda kind: built[0].rows)
    with pytest.raises(UnavailableError, match="verified on a GPU"):
        export_variants(built[0], variants, fp16=True)
    assert sorted(path.name for path in (variants / "tiny").iterdir()) == ["full", "full-int8"]


def test_a_folder_without_variants_is_told(tmp_path):
    with pytest.raises(UsageError, match="has no fp32 variant"):
        halve_all(tmp_path, lambda kind: [])
