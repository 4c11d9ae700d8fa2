"""Tokens to text while they are written: no half characters, and nothing is taken back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# The end of a text that more tokens may change: bytes that are not yet a character (decoders show
# U+FFFD), and an apostrophe, which some decoders join to the word before once its end is known.
UNSETTLED = re.compile(r"(\ufffd|'\s?\w{0,2})$")


class TextStream:
    """Text of a growing list of tokens; the pieces, joined, are the text of all, stripped.

    Only the tokens since the last piece (and those of that piece, for the space between the two)
    are decoded again, so a step costs the same however much is written.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._shown = 0  # tokens whose text was given out
        self._context = 0  # where decoding begins: the tokens of the last piece
        self._space = ""  # white space at the end is held back: it may be the text's end
        self._begun = False

    def push(self, tokens: Sequence[int]) -> str:
        """The new text that `tokens` complete; often nothing."""
        self._tokens += tokens
        return self._new(complete=False)

    def finish(self) -> str:
        """What was held back."""
        return self._new(complete=True)

    def _new(self, complete: bool) -> str:
        before = self._decode(self._tokens[self._context : self._shown])
        after = self._decode(self._tokens[self._context :])
        if len(after) <= len(before) or (UNSETTLED.search(after) and not complete):
            return ""
        self._context, self._shown = self._shown, len(self._tokens)
        return self._trimmed(after[len(before) :])

    def _trimmed(self, text: str) -> str:
        text = self._space + text
        kept = text.rstrip()
        self._space = text[len(kept) :]
        if not self._begun:
            kept = kept.lstrip()
            self._begun = bool(kept)
        return kept
