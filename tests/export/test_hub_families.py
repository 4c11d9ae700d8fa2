"""Graphs of the families that hub recipes name say what torch says, padded or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from export.to_onnx import graph_names, to_onnx
from services.errors import TransferError
from services.tasks.kinds import KINDS
from services.windows import TextTokenizer, pad
from tests import tiny_families
from tests.export.models import spread
from training.models import TorchRunner, load_model
from training.tokenizers import pad_like, save_tokenizer

TEXTS = ("The parcel has not arrived and I want my money back.", "Press the key.")
KINDS_OF_TEXT = ("sequence-classification", "question-answering")
REFUSED = {
    ("modernbert", "question-answering"): "doesn't support task question-answering",
    ("gpt2", "sequence-classification"): "answers otherwise than torch",
}
CASES = [
    (family, kind)
    for family in ("roberta", "xlmr", "deberta", "modernbert")
    for kind in KINDS_OF_TEXT
    if (family, kind) not in REFUSED
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_the_graph_says_what_torch_says(family: str, kind: str, tmp_path: Path) -> None:
    save: Callable[[Path], Path] = getattr(tiny_families, f"save_{family}")
    base, out = save(tmp_path / "base"), tmp_path / "tokenizer"
    out.mkdir()
    tokenizer = save_tokenizer(base, out)
    torch.manual_seed(3)
    model = pad_like(load_model(kind, base, ["a", "b", "c"]), tokenizer.pad_id)
    spread(model, 0.2)
    windows = [tokenizer.single(tokenizer.tokens(text), 64, 16)[0] for text in TEXTS]
    expected = TorchRunner(model, kind, tokenizer.pad_id)(windows)
    folder = to_onnx(model, kind, out / "tokenizer.json", tmp_path / "graph")
    names, outputs = graph_names(folder / "model.onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    found = session.run(None, pad(windows, tokenizer.pad_id, names))
    assert outputs == list(KINDS[kind][2])
    for name, array in zip(outputs, found, strict=True):
        for row, before in enumerate(expected):
            length = len(before[name])
            assert np.abs(array[row, :length] - before[name]).max() < 1e-4, name
    assert TextTokenizer.load(folder / "tokenizer.json").pad_id == tokenizer.pad_id


@pytest.mark.parametrize(("family", "kind"), REFUSED)
def test_what_cannot_be_exported_is_refused_with_the_reason(
    family: str, kind: str, tmp_path: Path
) -> None:
    base = getattr(tiny_families, f"save_{family}")(tmp_path / "base")
    model = load_model(kind, base, ["a", "b"])
    with pytest.raises(TransferError, match=REFUSED[family, kind]) as caught:
        to_onnx(model, kind, base / "tokenizer.json", tmp_path / "graph")
    assert "PyTorch" in caught.value.hint
    assert not (tmp_path / "graph" / "model.onnx").exists()


def test_a_family_without_an_export_is_refused_in_words(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ValueError("Trying to export a paperclip model, that is unsupported.\nLong story.")

    monkeypatch.setattr("export.to_onnx.onnx_export_from_model", fail)
    model = load_model("sequence-classification", tiny_bert, ["a", "b"])
    with pytest.raises(TransferError, match=r"cannot export bert.*paperclip") as caught:
        to_onnx(model, "sequence-classification", tiny_bert / "tokenizer.json", tmp_path)
    assert "Long story" not in caught.value.message
    assert "PyTorch" in caught.value.hint
