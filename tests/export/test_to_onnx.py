"""Graphs that ONNX Runtime loads and that say what torch says, for every family."""

from __future__ import annotations

import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from export.to_onnx import graph_names, to_onnx
from tests.export.models import spread
from training.models import load_model

TEXTS = [
    "The parcel has not arrived and I want my money back.",
    "Press the key for two seconds.",
    "The pump failed at noon. A worn seal was the cause.",
]


@pytest.fixture(scope="module", params=["bart", "t5"])
def generator(request, bases, tmp_path_factory):
    """(base, torch model, folder with its graphs)."""
    base, folder = bases[request.param], tmp_path_factory.mktemp(request.param)
    torch.manual_seed(3)
    model = load_model("seq2seq", base)
    spread(model, 0.2)
    return base, model, to_onnx(model, "seq2seq", base / "tokenizer.json", folder)


def test_an_encoder_is_one_graph_and_a_tokenizer(bases, tmp_path):
    base = bases["distilbert"]
    folder = to_onnx(load_model("zero-shot", base), "zero-shot", base / "tokenizer.json", tmp_path)
    assert graph_names(folder / "model.onnx") == (
        ["input_ids", "attention_mask"],
        ["last_hidden_state"],
    )


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_mean_pooled_classifier_is_one_graph_that_says_what_torch_says(family, bases, tmp_path):
    base, kind = bases[family], "sequence-classification"
    model = load_model(kind, base, ["a", "b", "c"], "mean")
    spread(model, 0.1)
    to_onnx(model, kind, base / "tokenizer.json", tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    ids = torch.tensor([[2, 45, 350, 61, 3], [2, 45, 3, 0, 0]])
    mask = (ids > 0).long()
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
    taken = {node.name: feeds[node.name].numpy() for node in session.get_inputs()}
    with torch.inference_mode():
        expected = model(**feeds).logits.numpy()
    assert abs(session.run(["logits"], taken)[0] - expected).max() < 1e-4


def test_the_stored_tokenizer_neither_cuts_nor_pads(bases, tmp_path):
    base = bases["bert"]
    cutting = Tokenizer.from_file(str(base / "tokenizer.json"))
    cutting.enable_truncation(4)
    cutting.enable_padding(length=8)
    cutting.save(str(tmp_path / "cutting.json"))
    model = load_model("zero-shot", base)
    folder = to_onnx(model, "zero-shot", tmp_path / "cutting.json", tmp_path / "out")
    stored = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert stored.get_vocab() == cutting.get_vocab()
    assert len(stored.encode("a b c d e f").ids) == 8
    assert len(stored.encode("a").ids) == 3


def test_length_and_number_of_windows_are_free(bases, tmp_path):
    base = bases["bert"]
    to_onnx(load_model("zero-shot", base), "zero-shot", base / "tokenizer.json", tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for shape in ((1, 3), (4, 200)):
        ids = torch.ones(shape, dtype=torch.int64).numpy()
        feeds = {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids * 0}
        assert session.run(None, feeds)[0].shape == (*shape, 32)


def test_an_encoder_decoder_is_an_encoder_and_a_merged_decoder(generator):
    _, _, folder = generator
    for name in ("encoder_model.onnx", "decoder_model_merged.onnx"):
        session = onnxruntime.InferenceSession(str(folder / name))
        assert session.get_outputs()
    inputs, outputs = graph_names(folder / "decoder_model_merged.onnx")
    assert "use_cache_branch" in inputs
    assert "logits" in outputs
    assert (folder / "tokenizer.json").is_file()


def test_the_graphs_write_the_same_tokens_as_torch(generator):
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    base, model, folder = generator
    tokenizer = AutoTokenizer.from_pretrained(base)
    served = ORTModelForSeq2SeqLM.from_pretrained(folder, use_cache=True)
    written = set()
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt").input_ids
        options = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": 12}
        with torch.inference_mode():
            expected = model.generate(**options, num_beams=1, do_sample=False)
        found = served.generate(**options, num_beams=1, do_sample=False)
        assert found.tolist() == expected.tolist()
        written.add(tuple(found[0].tolist()))
    assert len(written) > 1  # it reads its input
