"""Text in, model inputs out: tokens, and windows of at most `max_tokens` of them.

A text longer than a window is cut into overlapping windows; tokenizing happens once per text, so
time and memory grow linearly. Training, verification and serving all prepare their inputs here.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders  # type: ignore[import-untyped]

from services.errors import ArtifactError, ContentError
from services.schemas import LongText as LongText
from services.tokens import Tokens as Tokens
from services.tokens import tokens_of

# BERT's words end at an apostrophe: "it's" is three of them, and comes back as "it ' s".
CONTRACTION = re.compile(r" ' (s|t|d|m|re|ve|ll)\b")

Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Window:
    """One model input.

    input_ids, token_type_ids: the window with its special tokens, unpadded
    content: token positions [start, end) of the text (QA: of the context) inside the window
    first: index of the first content token among the tokens of the whole text
    document: which of an item's documents the content is from
    """

    input_ids: Sequence[int]
    token_type_ids: Sequence[int]
    content: tuple[int, int]
    first: int
    document: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def weight(self) -> float:
        """Its memory in a call over that of another as long, with which plans are measured."""
        return 1.0


@dataclass(frozen=True, slots=True)
class _Frame:
    """Special tokens around the content, as (ids, type ids) before it and after it."""

    before: tuple[list[int], list[int]]
    after: tuple[list[int], list[int]]
    content_type: int

    def window(self, tokens: Tokens, start: int, end: int, document: int = 0) -> Window:
        before_ids, before_types = self.before
        after_ids, after_types = self.after
        body = tokens.ids[start:end]
        ids = [*before_ids, *body, *after_ids]
        types = [*before_types, *[self.content_type] * len(body), *after_types]
        many = isinstance(body, array)  # of a text that has many windows: they are kept small too
        return Window(
            input_ids=array("i", ids) if many else ids,
            token_type_ids=array("b", types) if many else types,
            content=(len(before_ids), len(before_ids) + len(body)),
            first=start,
            document=document,
        )

    @property
    def special(self) -> int:
        return len(self.before[0]) + len(self.after[0])


class TextTokenizer:
    """A `tokenizer.json`, free of the truncation and padding that may be stored in it."""

    def __init__(self, tokenizer: Tokenizer, pad_id: int = 0) -> None:
        # The embedded base's file says "cut at 128, pad to 128": that changes texts in silence.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._splits_contractions = isinstance(tokenizer.decoder, decoders.WordPiece)
        self.pad_id = pad_id
        probe = tokenizer.encode("a")
        body = [i for i, special in enumerate(probe.special_tokens_mask) if not special]
        if not body:
            raise ArtifactError(
                "The tokenizer turns the letter 'a' into no token at all.",
                "Export the checkpoint again with its own tokenizer.json.",
            )
        first, last = body[0], body[-1] + 1
        self._single = _Frame(
            before=(probe.ids[:first], probe.type_ids[:first]),
            after=(probe.ids[last:], probe.type_ids[last:]),
            content_type=probe.type_ids[first],
        )

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return int(self._tokenizer.get_vocab_size())

    @classmethod
    def load(cls, path: Path) -> TextTokenizer:
        """Read `tokenizer.json` at `path`; raises ArtifactError when it cannot be read."""
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtifactError(
                f"{path} is not a readable tokenizer ({error}).", "Export the checkpoint again."
            ) from error
        return cls(tokenizer, pad_id=_pad_id(tokenizer))

    def save(self, path: Path) -> None:
        """Write it as a `tokenizer.json` that neither cuts nor pads.

        Where what pads has neither of the usual names (GPT-2), the file says so by its padding.
        """
        if _pad_id(self._tokenizer) != self.pad_id:
            pad_token = self._tokenizer.id_to_token(self.pad_id)
            self._tokenizer.enable_padding(pad_id=self.pad_id, pad_token=pad_token)
        self._tokenizer.save(str(path))
        self._tokenizer.no_padding()

    def tokens(self, text: str) -> Tokens:
        return tokens_of(text, partial(self._tokenizer.encode, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones left out."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return CONTRACTION.sub(r"'\1", text) if self._splits_contractions else text

    def single(self, tokens: Tokens, max_tokens: int, stride: int) -> list[Window]:
        """Windows over one text; neighbours share `stride` tokens."""
        room = max_tokens - self._single.special
        return [
            self._single.window(tokens, start, end)
            for start, end in spans(len(tokens.ids), room, stride)
        ]

    def over(self, tokens: Tokens, pieces: Sequence[tuple[int, int]]) -> list[Window]:
        """Windows over chosen token ranges [start, end) of one text."""
        return [self._single.window(tokens, start, end) for start, end in pieces]

    def room(self, max_tokens: int) -> int:
        """How many content tokens fit into a window of `max_tokens`."""
        return max_tokens - self._single.special

    def pair_frame(self, question: str) -> _Frame:
        """The frame that puts `question` in front of a context."""
        probe = self._tokenizer.encode(question, "a")
        second = [i for i, sequence in enumerate(probe.sequence_ids) if sequence == 1]
        first, last = second[0], second[-1] + 1
        return _Frame(
            before=(probe.ids[:first], probe.type_ids[:first]),
            after=(probe.ids[last:], probe.type_ids[last:]),
            content_type=probe.type_ids[first],
        )


def _pad_id(tokenizer: Tokenizer) -> int:
    if tokenizer.padding:
        return int(tokenizer.padding["pad_id"])
    for name in ("[PAD]", "<pad>"):
        found = tokenizer.token_to_id(name)
        if found is not None:
            return int(found)
    return 0


def spans(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Ranges of at most `room` that cover `length`, neighbours sharing `stride` (< `room`)."""
    if length <= room:
        return [(0, length)]
    step = room - stride
    starts = range(0, length - stride, step)
    return [(start, min(start + room, length)) for start in starts]


def limit(tokens: Tokens, room: int, long_text: LongText, field: str) -> tuple[Tokens, bool]:
    """Apply the caller's wish for text that needs more than one window.

    Returns the tokens to use and whether any were dropped; raises ContentError for "error".
    """
    if len(tokens.ids) <= room or long_text == "window":
        return tokens, False
    if long_text == "error":
        raise ContentError(
            f"{field} has {len(tokens.ids)} tokens; one window of this model takes {room}.",
            'Send "long_text": "window" to have it read in windows, or shorten it.',
            code="text_too_long",
        )
    return Tokens(tokens.ids[:room], tokens.offsets[:room]), True


def check_text(text: str, field: str = "text") -> None:
    """Raise ContentError for text that no model can read: blank, or with a lone surrogate."""
    if not text.strip():
        raise ContentError(
            f"{field} is empty; expected some text.", "Send at least one word.", code="empty_text"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ContentError(
            f"{field} has half of a surrogate pair at character {error.start}; expected Unicode.",
            "Send the text as valid UTF-8.",
            code="invalid_unicode",
        ) from error


def checked_tokens(tokenizer: TextTokenizer, text: str, field: str = "text") -> Tokens:
    """The tokens of `text`; raises ContentError when there is nothing to read in it."""
    check_text(text, field)
    tokens = tokenizer.tokens(text)
    if not tokens.ids:
        raise ContentError(
            f"{field} holds no character that the tokenizer knows; expected some text.",
            "Send at least one word.",
            code="empty_text",
        )
    return tokens


def pad(windows: Sequence[Window], pad_id: int, inputs: Sequence[str]) -> Feeds:
    """Right-pad windows into (windows, tokens) int64 arrays, only for the named graph inputs."""
    width = max(len(window) for window in windows)
    feeds: Feeds = {name: np.zeros((len(windows), width), np.int64) for name in inputs}
    if "input_ids" in feeds and pad_id:
        feeds["input_ids"].fill(pad_id)
    for row, window in enumerate(windows):
        length = len(window)
        if "input_ids" in feeds:
            feeds["input_ids"][row, :length] = window.input_ids
        if "attention_mask" in feeds:
            feeds["attention_mask"][row, :length] = 1
        if "token_type_ids" in feeds:
            feeds["token_type_ids"][row, :length] = window.token_type_ids
    return feeds
