"""A program that answers line by line."""

from __future__ import annotations

import pytest

from load_tests.modules import LoadError
from load_tests.worker import Worker


def test_a_worker_answers_again_and_again_though_it_prints() -> None:
    with Worker("tests.load_tests.echo") as worker:
        assert worker.ask(say="a") == {"said": ["a"]}
        assert worker.ask(say="b") == {"said": ["a", "b"]}


def test_a_worker_that_fails_is_reported_with_its_last_words() -> None:
    with (
        Worker("tests.load_tests.echo") as worker,
        pytest.raises(LoadError, match="KeyError"),
    ):
        worker.ask(shout="a")


def test_a_module_that_is_not_there_is_reported() -> None:
    with (
        Worker("tests.load_tests.peers.nothing") as worker,
        pytest.raises(LoadError, match="No module named"),
    ):
        worker.ask(say="a")
