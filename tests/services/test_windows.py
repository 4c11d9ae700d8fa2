"""Text to windows: nothing is lost, nothing is cut in silence, offsets are the caller's."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import ArtifactError, ContentError
from services.windows import (
    TextTokenizer,
    Window,
    check_text,
    checked_tokens,
    limit,
    pad,
    spans,
)
from tests.services import tiny


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tiny.tokenizer().save(str(path))
    return TextTokenizer.load(path)


def test_600_tokens_are_not_cut_though_the_file_says_128(tokenizer: TextTokenizer) -> None:
    assert len(tokenizer.tokens("money " * 600).ids) == 600


def test_a_short_text_is_not_padded_though_the_file_says_128(tokenizer: TextTokenizer) -> None:
    assert len(tokenizer.tokens("send money").ids) == 2


@given(length=st.integers(1, 5000), room=st.integers(2, 600), share=st.floats(0, 0.99))
def test_spans_cover_everything_and_share_the_stride(length: int, room: int, share: float) -> None:
    stride = int((room - 1) * share)
    found = spans(length, room, stride)
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(0 < end - start <= room for start, end in found)
    assert all(before[1] - after[0] == stride for before, after in pairwise(found))


def test_windows_of_a_long_text_show_every_token(tokenizer: TextTokenizer) -> None:
    tokens = tokenizer.tokens("please send the money to my account " * 50)
    windows = tokenizer.single(tokens, max_tokens=32, stride=8)
    seen = {
        window.first + place
        for window in windows
        for place in range(window.content[1] - window.content[0])
    }
    assert seen == set(range(len(tokens.ids)))
    assert all(len(window) <= 32 for window in windows)
    assert all(window.input_ids[0] == 2 and window.input_ids[-1] == 3 for window in windows)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("😀😀 paris", "paris"),
        ("東京 paris 大阪", "paris"),
        ("cafe\u0301 paris", "paris"),
        ("👩‍👩‍👧 to paris!", "paris"),
        ("\u200bparis", "paris"),
        ("\uff30\uff21 paris", "paris"),
    ],
)
def test_offsets_are_code_points_of_the_callers_text(
    tokenizer: TextTokenizer, text: str, word: str
) -> None:
    tokens = tokenizer.tokens(text)
    place = tokens.ids.index(tiny.vocabulary()[word])
    start, end = tokens.offsets[place]
    assert text[start:end].strip("\u200b") == word


@given(st.text(min_size=1, max_size=200))
def test_offsets_stay_inside_any_text(text: str) -> None:
    tokenizer = TextTokenizer(tiny.tokenizer())
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    for start, end in tokenizer.tokens(text).offsets:
        assert 0 <= start <= end <= len(text)


def test_a_question_frames_its_context(tokenizer: TextTokenizer) -> None:
    frame = tokenizer.pair_frame("what is my balance")
    window = frame.window(tokenizer.tokens("the money"), 0, 2)
    first, last = window.content
    assert window.input_ids[first:last] == tokenizer.tokens("the money").ids
    assert window.token_type_ids == [0] * first + [1] * 3


def test_limit_cuts_or_refuses_only_when_asked(tokenizer: TextTokenizer) -> None:
    tokens = tokenizer.tokens("money " * 50)
    assert limit(tokens, 10, "window", "text") == (tokens, False)
    cut, truncated = limit(tokens, 10, "truncate", "text")
    assert (len(cut.ids), truncated) == (10, True)
    with pytest.raises(ContentError, match="text has 50 tokens; one window of this model takes 10"):
        limit(tokens, 10, "error", "text")
    assert limit(tokens, 50, "error", "text") == (tokens, False)


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "empty_text"), (" \n\t", "empty_text"), ("a\ud83d", "invalid_unicode")],
)
def test_unreadable_text_is_refused_with_a_code(text: str, code: str) -> None:
    with pytest.raises(ContentError) as caught:
        check_text(text)
    assert caught.value.code == code


def test_text_without_one_token_counts_as_empty(tokenizer: TextTokenizer) -> None:
    with pytest.raises(ContentError) as caught:
        checked_tokens(tokenizer, "\u200d")
    assert caught.value.code == "empty_text"


def test_padding_is_masked_and_only_named_inputs_are_made() -> None:
    windows = [Window([2, 9, 3], [0, 0, 0], (1, 2), 0), Window([2, 3], [0, 0], (1, 1), 0)]
    feeds = pad(windows, pad_id=7, inputs=["input_ids", "attention_mask"])
    assert feeds["input_ids"].tolist() == [[2, 9, 3], [2, 3, 7]]
    assert feeds["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert set(feeds) == {"input_ids", "attention_mask"}


def test_an_unreadable_tokenizer_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json is not a readable tokenizer"):
        TextTokenizer.load(path)
