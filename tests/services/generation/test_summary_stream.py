"""Windows that are written at the same time are told in their order."""

from __future__ import annotations

import random
from collections.abc import Sequence

from services.generation.text import SummaryStream

WORDS = "the cat sat on a mat and saw two red hens go by".split()  # noqa: SIM905


def decode(tokens: Sequence[int]) -> str:
    return " ".join(WORDS[token] for token in tokens)


def told(pushes: list[tuple[int, list[int], bool]]) -> list[str]:
    pieces: list[str] = []
    stream = SummaryStream(decode, pieces.append)
    for push in pushes:
        stream.push(*push)
    return pieces


def test_one_window_is_told_at_once() -> None:
    assert told([(0, [0], False), (0, [1, 2], False), (0, [], True)]) == ["the", " cat sat"]


def test_a_later_window_waits_for_those_before_it() -> None:
    pieces = told([(1, [3], False), (0, [0], False), (1, [4], True), (0, [1], True)])
    assert pieces == ["the", " cat", " on a"]


def test_what_was_held_back_is_told_when_its_turn_comes_though_it_goes_on() -> None:
    pieces = told([(1, [3], False), (0, [0], True), (1, [4], False), (1, [5], True)])
    assert pieces == ["the", " on", " a", " mat"]


def test_an_empty_window_leaves_no_space() -> None:
    assert told([(0, [], True), (1, [0], True), (2, [], True), (3, [1], True)]) == ["the", " cat"]


def test_any_order_gives_the_same_text() -> None:
    rng = random.Random(7)
    for _ in range(300):
        texts = [[rng.randrange(len(WORDS)) for _ in range(rng.randrange(5))] for _ in range(4)]
        left = [[[token] for token in text] for text in texts]
        pushes: list[tuple[int, list[int], bool]] = []
        open_ones = set(range(len(texts)))
        while open_ones:
            window = rng.choice(sorted(open_ones))
            tokens = left[window].pop(0) if left[window] else []
            ended = not left[window]
            pushes.append((window, tokens, ended))
            open_ones -= {window} if ended else set()
        assert "".join(told(pushes)) == " ".join(decode(text) for text in texts if text)
