"""A long text is encoded in pieces: the same tokens as in one, in a fraction of the memory."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from services.memory import resident_mb
from services.tokens import PIECE, pieces, tokens_of
from services.windows import TextTokenizer
from tests import tiny_bases

TOKENIZERS = {
    "word pieces": tiny_bases.bert_tokenizer,
    "byte pairs": tiny_bases.bart_tokenizer,
    "unigrams": tiny_bases.t5_tokenizer,
}
ODD = ["  ", "\n", " \t ", "...", "don't", "É", "東京", "🙂", "''", "1,000", "a_b", "(x)"]


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    made = TOKENIZERS[request.param]()
    made.no_truncation()
    made.no_padding()
    return made


def text_of(words: int, seed: int) -> str:
    """Sample texts with what tokenizers treat apart strewn in."""
    chance = random.Random(seed)
    known = " ".join(tiny_bases.sample_texts()).split(" ")
    return " ".join(chance.choice(known if chance.random() < 0.9 else ODD) for _ in range(words))


@pytest.mark.parametrize("seed", range(5))
def test_the_tokens_are_those_of_the_whole_text(tokenizer: Tokenizer, seed: int) -> None:
    text = text_of(20_000, seed)
    assert len(text) > 3 * PIECE
    whole = tokenizer.encode(text, add_special_tokens=False)
    found = tokens_of(text, lambda part: tokenizer.encode(part, add_special_tokens=False))
    assert list(found.ids) == whole.ids
    assert list(found.offsets) == whole.offsets
    assert found.offsets[-1] == whole.offsets[-1]
    assert list(found.offsets[10:20]) == whole.offsets[10:20]


@given(text=st.text(st.sampled_from("ab é東. "), max_size=400), size=st.integers(1, 50))
def test_pieces_cover_the_text_in_order(text: str, size: int) -> None:
    found = list(pieces(text, size))
    assert "".join(text[start:end] for start, end in found) == text
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert all(0 < end - start <= 2 * size for start, end in found)


def test_windows_of_a_long_text_are_those_of_its_tokens() -> None:
    tokenizer = TextTokenizer(tiny_bases.bert_tokenizer())
    text = text_of(10_000, 0)
    tokens = tokenizer.tokens(text)
    windows = tokenizer.single(tokens, max_tokens=64, stride=16)
    first, last = windows[0], windows[-1]
    assert list(first.input_ids[1:-1]) == list(tokens.ids[:62])
    assert set(first.token_type_ids) == {0}
    assert last.first + last.content[1] - last.content[0] == len(tokens.ids)


def test_a_text_of_eight_megabytes_takes_little_memory() -> None:
    """1.3 GB in one piece, more than a pod has."""
    tokenizer = TextTokenizer(tiny_bases.bert_tokenizer())
    text = "please send the money to my account today " * 190_000
    before = resident_mb()
    tokens = tokenizer.tokens(text)
    windows = tokenizer.single(tokens, max_tokens=128, stride=32)
    assert sum(len(window) for window in windows) > 1_500_000
    assert resident_mb() < before + 150
