"""Which variants are measured, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from load_tests.gpu.found import find_variants, without_fp16
from services.errors import UsageError
from tests.services import tiny

KEYS = ("reader/full", "intent/full", "intent/full-fp16", "intent/full-int8", "intent/distilled")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    for key in KEYS:
        precision = "fp16" if key.endswith("fp16") else "int8" if key.endswith("int8") else "fp32"
        tiny.write_variant(tmp_path / "built" / key, *key.split("/"), precision=precision)
    return tmp_path / "built"


def test_the_fp32_variant_of_each_role_comes_first(built: Path, tmp_path: Path) -> None:
    found = find_variants(tmp_path / "no lock", built)
    assert [(one.key, one.role, one.provider) for one in found] == [
        ("intent/full", "full", "cuda"),
        ("intent/full-fp16", "full", "cuda"),
        ("intent/full-int8", "full", "cpu"),
        ("intent/distilled", "distilled", "cuda"),
        ("reader/full", "full", "cuda"),
    ]
    assert without_fp16(found) == ["intent/distilled", "reader/full"]
    assert [one.key for one in find_variants(tmp_path, built, ["reader"])] == ["reader/full"]


def test_what_is_not_there_is_named(built: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No variant of tides .* there are intent, reader"):
        find_variants(tmp_path / "no lock", built, ["tides"])
    with pytest.raises(UsageError, match="No variant of any model"):
        find_variants(tmp_path / "no lock", tmp_path / "nowhere")
