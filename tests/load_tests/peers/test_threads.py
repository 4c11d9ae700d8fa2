"""A rate counts what was done, by all threads and in the measured time alone."""

from __future__ import annotations

import time

import pytest

from load_tests.peers.threads import rate


@pytest.mark.parametrize("threads", [1, 2])
def test_it_counts_items_of_all_threads(threads: int) -> None:
    def work(batch: list[int]) -> int:
        time.sleep(0.01)
        return len(batch)

    found = rate(work, [[1, 2, 3, 4, 5]], threads, 0.2)
    assert 0 < found <= threads * 5 / 0.01


def test_every_thread_begins_elsewhere_and_goes_through_all() -> None:
    seen: list[str] = []

    def work(batch: str) -> int:
        seen.append(batch)
        time.sleep(0.001)
        return 1

    rate(work, ["a", "b", "c", "d"], 2, 0.1)
    assert sorted(seen[:2]) == ["a", "c"]  # the warm-up
    assert set(seen) == set("abcd")
