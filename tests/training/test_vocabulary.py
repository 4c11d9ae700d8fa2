"""Words that become one token, in the tokenizer and in the embeddings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from training.models import load_model
from training.vocabulary import add_embeddings, add_tokens

WORDS = ["#Person1#", "#Person2#"]
TEXT = "#Person1# asks #Person2# about the pump."


@pytest.mark.parametrize("name", ["bert", "bart", "t5"])
def test_a_new_word_is_one_token_wherever_it_stands(name: str, bases: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bases[name])
    before = tokenizer(TEXT, add_special_tokens=False).input_ids
    pieces = add_tokens(tokenizer, WORDS)
    after = tokenizer(TEXT, add_special_tokens=False).input_ids
    assert len(after) < len(before)
    assert [ids for ids in after if ids in pieces] == list(pieces)
    assert "#Person1#" in tokenizer.decode(after, skip_special_tokens=True)
    assert all(pieces.values())


def test_words_that_are_known_are_not_added_again(tiny_bert: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    add_tokens(tokenizer, WORDS)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(TEXT).input_ids == tokenizer(TEXT).input_ids
    assert list(add_tokens(again, [*WORDS, "#Person3#"])) == [len(tokenizer)]


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_a_new_row_is_the_mean_of_what_spelled_the_word(name: str, bases: dict[str, Path]) -> None:
    tokenizer, model = (
        AutoTokenizer.from_pretrained(bases[name]),
        load_model("seq2seq", bases[name]),
    )
    old = model.get_input_embeddings().weight.detach().clone()
    pieces = add_tokens(tokenizer, WORDS)
    add_embeddings(model, pieces)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    rows = model.get_input_embeddings().weight
    assert torch.equal(rows[: len(old)], old)
    assert len(rows) == len(old) + len(WORDS) == model.config.vocab_size
    for row, spelled in pieces.items():
        assert torch.allclose(rows[row], old[spelled].mean(dim=0))


def test_a_base_with_rows_to_spare_keeps_its_size(tiny_t5: Path) -> None:
    model = load_model("seq2seq", tiny_t5)
    model.resize_token_embeddings(1100, mean_resizing=False)
    add_embeddings(model, {1005: [7, 9]})
    rows = model.get_input_embeddings().weight
    assert len(rows) == 1100
    assert torch.allclose(rows[1005], rows[[7, 9]].mean(dim=0))


def test_no_new_words_change_nothing(tiny_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    assert add_tokens(tokenizer, []) == {}
    assert len(tokenizer) == 1000
