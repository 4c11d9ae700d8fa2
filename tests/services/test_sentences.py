"""Windows that end where sentences do and share a text evenly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sentences import even_ranges


def owner_of(lengths: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(lengths)), lengths)


@pytest.mark.parametrize(
    ("lengths", "room", "ranges"),
    [
        ([3, 4], 10, [(0, 7)]),
        ([4, 4, 4], 10, [(0, 4), (4, 12)]),
        ([6, 1, 6], 10, [(0, 7), (7, 13)]),
        ([9, 2, 1], 10, [(0, 9), (9, 12)]),
        ([1, 19], 10, [(0, 10), (10, 20)]),  # one token is no window
        ([30], 10, [(0, 10), (10, 20), (20, 30)]),
    ],
)
def test_ranges(lengths: list[int], room: int, ranges: list[tuple[int, int]]) -> None:
    assert even_ranges(owner_of(lengths), room) == ranges


@given(st.lists(st.integers(1, 25), min_size=1, max_size=60), st.integers(4, 40))
def test_ranges_cover_everything_fit_and_are_few(lengths: list[int], room: int) -> None:
    total = sum(lengths)
    ranges = even_ranges(owner_of(lengths), room)
    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == total
    assert all(0 < end - start <= room for start, end in ranges)
    assert len(ranges) <= 4 * -(-total // room)
