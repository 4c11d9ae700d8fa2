from __future__ import annotations

from pathlib import Path

from load_tests.peers.splits import BATCHES, Split, rate_request, splits


def test_every_way_to_split_two_cores_is_tried() -> None:
    found = splits(2)
    assert len(found) == 2 * 2 * len(BATCHES)
    assert found["2 x 1 threads, batch 8"] == Split(threads=2, intra_op=1, batch=8)


def test_a_request_is_plain_json() -> None:
    request = rate_request(Path("folder"), ["a"], Split(2, 1, 4), 0.5)
    assert request == {
        "folder": "folder",
        "texts": ["a"],
        "split": {"threads": 2, "intra_op": 1, "batch": 4},
        "seconds": 0.5,
    }
