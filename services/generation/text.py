"""Tokens to text while they are written: no half characters, and nothing is taken back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from threading import Lock

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


class SummaryStream:
    """The text of several windows that are written at the same time, in the order of the windows.

    say: told each piece; all pieces, joined, are the texts of the windows with spaces between them

    Windows may be pushed from several threads, each from one at a time.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], say: Callable[[str], None]) -> None:
        self._decode = decode
        self._say = say
        self._texts: dict[int, TextStream] = {}
        self._held: dict[int, str] = {}  # of windows whose turn has not come
        self._ended: set[int] = set()
        self._turn = 0
        self._last: int | None = None  # the window that was heard last
        self._lock = Lock()

    def push(self, window: int, tokens: Sequence[int], ended: bool) -> None:
        """Final tokens of one window, and whether they are its last."""
        with self._lock:
            text = self._texts.setdefault(window, TextStream(self._decode))
            piece = text.push(tokens)
            if ended:
                piece += text.finish()
                self._ended.add(window)
            self._held[window] = self._held.get(window, "") + piece
            self._tell()
            while self._turn in self._ended:
                self._turn += 1
                self._tell()

    def _tell(self) -> None:
        if not (piece := self._held.pop(self._turn, "")):
            return
        self._say(piece if self._last in (None, self._turn) else f" {piece}")
        self._last = self._turn
