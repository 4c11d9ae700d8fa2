from __future__ import annotations

import pytest

from load_tests.bodies import ROUTES, examples, items, zero_shot_labels
from services.schemas import TASKS, convert_request


@pytest.mark.parametrize("task", ROUTES)
def test_every_example_and_every_item_is_a_valid_request(task: str) -> None:
    for body in [*examples(task), *items(task, "some-model")]:
        convert_request(body, TASKS[task])


@pytest.mark.parametrize("task", ROUTES)
def test_an_item_asks_for_one_result(task: str) -> None:
    found = items(task, "some-model")
    assert len(found) >= 2
    field = "question" if task == "qa" else "text"
    assert all(isinstance(item[field], str) for item in found)
    assert len({repr(item) for item in found}) == len(found)


def test_items_are_addressed_and_carry_the_labels_they_need() -> None:
    labels = zero_shot_labels()
    assert len(labels) >= 2
    for item in items("classify", "zeroshot", labels=labels):
        assert item["model"] == "zeroshot"
        assert item["labels"] == labels
    assert all("labels" not in item for item in items("classify", "intent"))


def test_no_example_asks_for_a_stream() -> None:
    assert not any(body.get("stream") for body in examples("summarize"))
