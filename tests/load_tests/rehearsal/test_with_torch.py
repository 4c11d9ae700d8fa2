"""The image is ten times smaller than with torch: a sum of inputs that say where they are from."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from load_tests.rehearsal import with_torch
from load_tests.rehearsal.with_torch import PARTS, compared, table, unpacked
from load_tests.server import ROOT


def slim_mb() -> float:
    return float(json.loads(with_torch.RECORD.read_text())["sizes_mb"]["slim"])


def test_the_document_has_the_table_of_what_was_measured() -> None:
    document = with_torch.DOCUMENT.read_text(encoding="utf-8")
    assert with_torch.documented(document) == document
    assert table(slim_mb()) in document


def test_the_image_is_at_least_ten_times_smaller() -> None:
    assert compared(slim_mb())["times"] >= 10.0


def test_the_sum_is_that_of_its_parts() -> None:
    found = compared(500.0)
    assert found["with_torch_mb"] == 500.0 + sum(part["size_mb"] for part in found["parts"])
    assert all(part["how"] for part in found["parts"])


def test_the_parts_are_of_the_versions_that_are_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {part.package for part in PARTS} <= set(pins)


def test_wheels_are_weighed_unpacked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        with zipfile.ZipFile(tmp_path / f"{name}.whl", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("module.py", " " * 1_500_000)
    assert unpacked(tmp_path) == (2, 3.0)
    assert with_torch.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "2 wheels, 3.0 MB unpacked\n"
