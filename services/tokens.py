"""The tokens of one text, kept small: a book of 8 MB must not take a gigabyte.

In: a text and what encodes it. Out: `Tokens`. The tokenizers library keeps about 120 bytes for a
character of what it has encoded, so a long text is encoded in pieces, of which only ids and offsets
are kept, 12 bytes a token.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

PIECE = 20_000  # characters
# Where a text may be cut: before the space between two words. Word pieces, byte pairs and unigrams
# all begin a word there.
_BETWEEN_WORDS = re.compile(r"(?<=[^\W_]) (?=[^\W_])")

Ids = Sequence[int]
Offsets = Sequence[tuple[int, int]]


class Tokens:
    """The tokens of one text without special tokens: ids, and (start, end) code points.

    offsets: a sequence, or a function that makes it when somebody asks: a classifier never does
    """

    __slots__ = ("_offsets", "ids")

    def __init__(self, ids: Ids, offsets: Offsets | Callable[[], Offsets]) -> None:
        self.ids = ids
        self._offsets = offsets

    @property
    def offsets(self) -> Offsets:
        if callable(self._offsets):
            self._offsets = self._offsets()
        return self._offsets


class Packed(Sequence[tuple[int, int]]):
    """Offsets of many tokens in eight bytes each."""

    def __init__(self, starts: array[int], ends: array[int]) -> None:
        self._starts, self._ends = starts, ends

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> Packed: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | Packed:
        if isinstance(index, slice):
            return Packed(self._starts[index], self._ends[index])
        return self._starts[index], self._ends[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)


def tokens_of(text: str, encode: Callable[[str], Any]) -> Tokens:
    """encode: a text to an `Encoding` of the tokenizers library, without special tokens"""
    if len(text) <= PIECE:
        encoding = encode(text)
        return Tokens(encoding.ids, lambda: encoding.offsets)
    ids, starts, ends = array("i"), array("i"), array("i")
    for start, end in pieces(text):
        # With the last letter of the word before it, which is dropped again: a tokenizer may treat
        # the beginning of a text unlike its middle.
        begin = start - 1 if start and text[start] == " " else start
        encoding = encode(text[begin:end])
        for token, (left, right) in zip(encoding.ids, encoding.offsets, strict=True):
            if begin < start and left < 1:
                continue
            ids.append(token)
            starts.append(begin + left)
            ends.append(begin + right)
    return Tokens(ids, Packed(starts, ends))


def pieces(text: str, size: int = PIECE) -> Iterator[tuple[int, int]]:
    """Ranges [start, end) that cover the text, each of about `size` characters and cut at a space.

    Where there is none between two words within another `size` characters, it is cut anywhere.
    """
    start = 0
    while start < len(text):
        end = start + size
        if end + size // 2 < len(text):  # else the rest is one piece
            found = _BETWEEN_WORDS.search(text, end, end + size)
            end = found.start() if found else end
        else:
            end = len(text)
        yield start, end
        start = end
