"""Streamed text: the pieces are whole characters, never taken back, and add up to the whole."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from services.generation.text import TextStream
from services.windows import TextTokenizer
from tests.tiny_bases import bart_tokenizer, bert_tokenizer, sample_texts, t5_tokenizer

MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "bart": bart_tokenizer,
    "t5": t5_tokenizer,
    "bert": bert_tokenizer,
}
TEXTS = [
    *sample_texts()[:20],
    "Müller zahlt 5 €, naïve 日本語 \U0001f642 fin",
    "it's John's, isn't it? 'Yes', we said: they'll re-do the clients' books.",
    "  two  spaces,\n\nand lines ",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
]


@pytest.fixture(scope="module", params=MAKERS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return MAKERS[request.param]()


def pieces(tokenizer: Tokenizer, ids: list[int], step: int = 1) -> list[str]:
    stream = TextStream(TextTokenizer(tokenizer).decode)
    found = [stream.push(ids[start : start + step]) for start in range(0, len(ids), step)]
    return [*found, stream.finish()]


def whole(tokenizer: Tokenizer, ids: list[int]) -> str:
    return TextTokenizer(tokenizer).decode(ids).strip()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("step", [1, 3])
def test_pieces_add_up_to_the_text_of_all(tokenizer: Tokenizer, text: str, step: int) -> None:
    ids = tokenizer.encode(text).ids
    assert "".join(pieces(tokenizer, ids, step)) == whole(tokenizer, ids)


def test_random_tokens_add_up_too(tokenizer: Tokenizer) -> None:
    """Bytes in any order, special tokens anywhere: what a badly trained model writes."""
    rng = random.Random(3)
    known = tokenizer.get_vocab()
    often = [known[word] for word in ("'", "s", "t", "re", "n", ".") if word in known]
    for _ in range(200):
        ids = [rng.choice([rng.randrange(len(known)), *often]) for _ in range(30)]
        assert "".join(pieces(tokenizer, ids)) == whole(tokenizer, ids)


def test_a_character_of_several_tokens_comes_whole() -> None:
    tokenizer = bart_tokenizer()
    ids = tokenizer.encode("a \U0001f642 b", add_special_tokens=False).ids
    assert len(ids) > 5  # the smile is four bytes, each a token
    found = pieces(tokenizer, ids)
    assert "\ufffd" not in "".join(found)
    assert any(piece.strip() == "\U0001f642" for piece in found)


def test_text_comes_as_soon_as_it_is_certain(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(sample_texts()[0], add_special_tokens=False).ids
    found = pieces(tokenizer, ids)
    assert sum(bool(piece) for piece in found) > 0.5 * len(ids)


def test_no_tokens_are_no_text(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, []) == [""]


def test_bert_gets_its_contractions_back() -> None:
    tokenizer = TextTokenizer(bert_tokenizer())
    text = "it's the team's day, they don't say 'no'."
    assert tokenizer.decode(tokenizer.tokens(text).ids) == text.replace("'no'.", "' no '.")
