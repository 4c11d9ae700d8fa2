from __future__ import annotations

from pathlib import Path

import pytest

from load_tests import samples
from load_tests.samples import SOURCES, sample_items
from services.schemas import TASKS, convert_request


@pytest.mark.parametrize("task", SOURCES)
def test_samples_are_a_hundred_valid_requests_spread_over_the_file(task: str) -> None:
    found = sample_items(task, "some-model")
    assert len(found) == 100
    for body in found:
        convert_request(body, TASKS[task])
    assert len({repr(body) for body in found}) > 90


def test_labels_go_with_every_text() -> None:
    found = sample_items("classify", "zeroshot", labels=["a", "b"], limit=3)
    assert [body["labels"] for body in found] == [["a", "b"]] * 3


def test_without_sample_data_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "FOLDER", tmp_path)
    assert sample_items("qa", "reader") == []
