"""The ceiling does the work of the service, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from load_tests.inprocess import answer
from load_tests.peers.ceiling import Classifier, batches_of
from load_tests.texts import short_texts
from services.runtime import Runtime
from tests.services import tiny

TEXTS = ["freeze my card", "what is my balance", "please transfer the money to my account", "send"]
LONG = "please freeze the stolen card " + "and what of the " * 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_variant(tmp_path_factory.mktemp("variants") / "full", max_tokens=64)


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_labels_are_those_of_the_service_whatever_the_batch(folder: Path, batch: int) -> None:
    texts = [*TEXTS, LONG, *short_texts()[:20]]
    runtime = Runtime.load(folder)
    expected = [answer(runtime, {"text": text})["label"] for text in texts]
    assert Classifier(folder, 1).labels_of(texts, batch) == expected


def test_a_text_longer_than_a_window_is_read_whole(folder: Path) -> None:
    windows, owners = Classifier(folder, 1)._windows(["freeze", LONG])
    assert owners[0] == 0 and set(owners[1:]) == {1}
    assert len(windows) > 3
    assert max(map(len, windows)) == 64


def test_batches_hold_equally_long_texts_each_once_in_random_order() -> None:
    texts = ["a" * length for length in range(1, 41)]
    batches = batches_of(texts, 4)
    assert sorted(text for batch in batches for text in batch) == texts
    assert all(len(batch[-1]) - len(batch[0]) == 3 for batch in batches)
    assert [len(batch[0]) for batch in batches] != list(range(1, 41, 4))
