from __future__ import annotations

from pathlib import Path

import pytest

from load_tests.bodies import items
from load_tests.inprocess import answer, throughput
from load_tests.offline import offline
from services.errors import ContentError
from services.runtime import Runtime
from tests.services import tiny


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return Runtime.load(tiny.write_variant(tmp_path_factory.mktemp("variants") / "full"))


def test_an_answer_is_the_one_that_the_server_gives(runtime: Runtime) -> None:
    assert answer(runtime, {"text": "freeze my card"})["label"] == "freeze_card"


def test_a_fault_of_the_text_is_raised(runtime: Runtime) -> None:
    with pytest.raises(ContentError, match="empty"):
        answer(runtime, {"text": " "})


def test_throughput_counts_the_items_of_all_threads(runtime: Runtime) -> None:
    done, seconds = throughput(runtime, items("classify", "intent"), seconds=0.2)
    assert done / seconds > 100


def test_a_reader_is_asked_questions(tmp_path: Path) -> None:
    reader = Runtime.load(tiny.write_variant(tmp_path / "reader", "reader"))
    body = {"question": "when", "context": "the card is paris", "model": "reader"}
    assert answer(reader, body)["answer"] == "paris"


def test_a_process_of_its_own_answers_and_measures(tmp_path: Path) -> None:
    folder = tiny.write_variant(tmp_path / "full")
    samples = [{"text": "freeze my card"}, {"text": " "}]
    found = offline(folder, [{"text": "send money"}], samples, seconds=0.2)
    assert found["answers"][0]["label"] == "freeze_card"
    assert found["answers"][1]["error"]["code"] == "empty_text"
    assert found["throughput_rps"] == found["items"] / found["seconds"] > 100
    assert found["energy"] is None or found["energy"]["wh"] >= 0
