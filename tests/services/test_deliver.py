"""Models are carried whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.deliver import deliver, main
from services.errors import ArtifactError, UsageError
from services.lock import read_lock
from services.registry import check_variant
from tests.services.conftest import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(store: Store, tmp_path: Path) -> Path:
    """As `images/models.Containerfile` lays it out."""
    folder = tmp_path / "source"
    shutil.copytree(store.home / "models", folder / "models")
    shutil.copy(store.lock, folder / "variants.lock.json")
    return folder


def folder_of(place: Path, key: str) -> Path:
    name, _, version = read_lock(place / "variants.lock.json")[key].partition(":")
    return place / "models" / name / version


def test_what_the_patterns_name_arrives_whole(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    lock = deliver(source, target, ["intent/full", "zeroshot"])
    assert list(lock) == ["intent/full", "zeroshot/full", "zeroshot/full-int8"]
    assert read_lock(target / "variants.lock.json") == lock
    assert {path.name for path in (target / "models").iterdir()} == {
        "intent-full",
        "zeroshot-full",
        "zeroshot-full-int8",
    }
    for key in lock:
        assert check_variant(folder_of(target, key)).variant == key.split("/")[1]


def test_a_server_finds_what_was_delivered(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    deliver(source, target, ["intent/full"])
    env = {
        **os.environ,
        "BENTOML_HOME": str(target),
        "TRANSFER_LOCK": str(target / "variants.lock.json"),
    }
    command = [sys.executable, "transfer.py", "models", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    (row,) = json.loads(done.stdout)["models"]
    assert (row["model"], row["variant"]) == ("intent", "full")


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
def test_a_flipped_bit_is_refused_and_no_lock_is_written(
    source: Path, tmp_path: Path, name: str
) -> None:
    path = folder_of(source, "intent/full") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        deliver(source, tmp_path / "target", ["intent/full"])
    assert not (tmp_path / "target" / "variants.lock.json").exists()
    assert not list((tmp_path / "target").glob("models/*/*/model.onnx"))


def test_a_link_to_elsewhere_is_refused(source: Path, tmp_path: Path) -> None:
    path = folder_of(source, "intent/full") / "model.onnx"
    path.rename(tmp_path / "elsewhere.onnx")
    path.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(ArtifactError, match="link"):
        deliver(source, tmp_path / "target")


def test_a_delivery_can_be_repeated_and_sees_what_was_damaged_meanwhile(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    assert deliver(source, target, ["intent/full"]) == deliver(source, target, ["intent/full"])
    (folder_of(target, "intent/full") / "model.onnx").write_bytes(b"short")
    with pytest.raises(ArtifactError, match=r"model\.onnx has 5 bytes"):
        deliver(source, target, ["intent/full"])


def test_a_pattern_that_names_nothing_is_told(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="intent/huge"):
        deliver(source, tmp_path / "target", ["intent/huge"])


def test_the_command_reads_the_setting_and_exits_with_one_line(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRANSFER_VARIANTS", "emotion/full")
    assert main([str(source), str(tmp_path / "target")]) == 0
    assert capsys.readouterr().out == "1 variants: emotion/full\n"
    assert main([str(tmp_path / "nowhere"), str(tmp_path / "target")]) == 1
    assert main([]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
