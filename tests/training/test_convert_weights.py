"""Weights in the old format become safetensors, and a pickle with code in it is refused."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file

from services.errors import TransferError
from training import convert_weights
from training.bases import WEIGHTS, resolve
from training.convert_weights import OLD, converted


@pytest.fixture
def old(tiny_bert: Path, tmp_path: Path) -> Path:
    """A snapshot of the hub's cache with `pytorch_model.bin` alone; two names share a tensor."""
    folder = tmp_path / "models--some--bert" / "snapshots" / "c0ffee"
    shutil.copytree(tiny_bert, folder)
    state = load_file(folder / WEIGHTS)
    name = "embeddings.word_embeddings.weight"
    torch.save({**state, "tied.weight": state[name]}, folder / OLD)
    (folder / WEIGHTS).unlink()
    return folder


def test_the_tensors_are_the_same(old: Path, tiny_bert: Path, tmp_path: Path) -> None:
    out = converted(old, WEIGHTS, tmp_path / "cache")
    ours, theirs = load_file(out / WEIGHTS), load_file(tiny_bert / WEIGHTS)
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert "tied.weight" in ours
    assert (out / "tokenizer.json").is_file() and not (out / OLD).exists()
    (old / OLD).unlink()
    assert converted(old, WEIGHTS, tmp_path / "cache") == out  # made once


class Harm:
    def __reduce__(self) -> Any:
        return (print, ("harm",))


def test_code_in_a_pickle_is_not_run(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (old / OLD).write_bytes(pickle.dumps({"weight": Harm()}, protocol=2))
    with pytest.raises(TransferError, match="cannot be read as plain tensors"):
        converted(old, WEIGHTS, tmp_path / "cache")
    assert capsys.readouterr().out == ""


def test_a_hub_base_with_old_weights_alone_is_converted(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def download(repo: str, **options: Any) -> str:
        asked.append(options)
        return str(old)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(
        convert_weights, "converted", lambda *given: converted(*given, tmp_path / "cache")
    )
    found = resolve("some/bert")
    assert found.revision == "c0ffee" and found.id == "some/bert"
    assert (found.path / WEIGHTS).is_file()
    assert asked[1] == {"revision": "c0ffee", "allow_patterns": [OLD]}
