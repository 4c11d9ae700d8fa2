"""Tokenizers of bases: converted where they are slow, refused where they cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import transformers as hf

from services.windows import TextTokenizer
from tests.tiny_bases import sample_texts
from tests.tiny_families import save_deberta, save_gpt2
from training.bases import BaseError
from training.tokenizers import load_tokenizer, save_tokenizer


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece model trained on the samples, as DeBERTa-v3 brings it along."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("pieces")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sample_texts()),
        model_prefix=str(folder / "spm"),
        vocab_size=500,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        num_threads=1,
        minloglevel=2,
    )
    return folder / "spm.model"


@pytest.fixture
def slow(pieces: Path, tmp_path: Path) -> Path:
    """A DeBERTa base whose tokenizer is that model and nothing else."""
    folder = save_deberta(tmp_path / "slow")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink()
    shutil.copy(pieces, folder / "spm.model")
    config = {"tokenizer_class": "DebertaV2Tokenizer", "vocab_type": "spm", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_a_sentencepiece_model_becomes_a_tokenizer_file(slow: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    tokenizer = save_tokenizer(slow, out)
    text = "The parcel has not been delivered."
    expected = hf.DebertaV2Tokenizer(str(slow / "spm.model"))
    assert tokenizer.tokens(text).ids == expected.encode(text, add_special_tokens=False)
    assert TextTokenizer.load(out / "tokenizer.json").pad_id == expected.pad_token_id


def test_a_tokenizer_that_cannot_be_had_says_what_was_found(slow: Path) -> None:
    (slow / "spm.model").unlink()
    with pytest.raises(BaseError, match=r"cannot be used.*found tokenizer_config\.json") as caught:
        load_tokenizer(slow)
    assert "sentencepiece" in caught.value.hint


def test_a_decoder_is_padded_with_its_end_of_text(tmp_path: Path) -> None:
    base = save_gpt2(tmp_path / "base")
    assert hf.AutoTokenizer.from_pretrained(base).pad_token is None
    out = tmp_path / "out"
    out.mkdir()
    assert save_tokenizer(base, out).pad_id == hf.AutoTokenizer.from_pretrained(base).eos_token_id
    assert hf.AutoTokenizer.from_pretrained(out).pad_token == "<|endoftext|>"


def test_a_tokenizer_without_padding_and_end_is_refused(tmp_path: Path) -> None:
    base = save_gpt2(tmp_path / "base")
    hf.PreTrainedTokenizerFast(tokenizer_file=str(base / "tokenizer.json")).save_pretrained(base)
    with pytest.raises(BaseError, match="neither a padding token nor an end of text"):
        load_tokenizer(base)
