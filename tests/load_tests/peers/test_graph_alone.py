"""What the graph reads alone is what the service gives it, and counts questions."""

from __future__ import annotations

import numpy as np
import pytest

from load_tests.peers.graph_alone import Reader
from load_tests.peers.threads import rate
from tests.services import tiny

SHORT = "Maria moved to Porto in May."
LONG = "The museum opened in Lisbon. " * 60
PAIRS = [("Where did Maria move?", SHORT), ("Where did it open?", LONG), ("When?", SHORT)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp("variants") / "full"
    return Reader(tiny.write_variant(folder, "reader", max_tokens=64), 1)


@pytest.mark.parametrize("size", [1, 2, 8])
def test_every_question_is_in_one_batch_with_all_its_windows(reader: Reader, size: int) -> None:
    batches = reader.batches_of(PAIRS, size)
    assert sum(batch.questions for batch in batches) == len(PAIRS)
    fed = [feeds["input_ids"] for batch in batches for feeds in batch.calls]
    assert max(len(ids) for ids in fed) <= size
    expected = [reader._task.encode(question, [text]).windows for question, text in PAIRS]
    assert sum(len(ids) for ids in fed) == sum(map(len, expected)) > 5
    masks = [feeds["attention_mask"] for batch in batches for feeds in batch.calls]
    tokens = sum(len(window) for windows in expected for window in windows)
    assert int(np.sum([mask.sum() for mask in masks])) == tokens


def test_a_batch_is_read_whole_and_counts_its_questions(reader: Reader) -> None:
    (batch,) = reader.batches_of(PAIRS, len(PAIRS))
    assert reader.read(batch) == len(PAIRS)
    assert rate(reader.read, [batch], 2, 0.05) > 0
