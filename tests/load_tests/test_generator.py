"""Phases of Locust in a process of its own, against a tiny real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from load_tests.bodies import examples
from load_tests.generator import Generator
from load_tests.modules import LoadError
from load_tests.recorder import Recorder, mean_stages_ms
from load_tests.scenarios import BATCH, SERVER, SINGLE_STREAM
from load_tests.server import ROOT, Server, free_port, started
from tests.load_tests.conftest import tiny_command

TEXT = [{"text": "a"}]
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def generator(tiny_server: Server) -> Iterator[Generator]:
    with Generator(tiny_server.url, "classify") as found:
        yield found


def test_good_answers_are_timed_one_by_one(generator: Generator) -> None:
    seen = generator.run(SINGLE_STREAM, examples("classify"), seconds=0.5, settle_s=0.1)
    latencies_ms = seen["latencies_ms"]
    assert latencies_ms and all(value > 0 for value in latencies_ms)
    assert any(value != round(value, 2) for value in latencies_ms), "rounded"
    assert (seen["failures"], seen["shed"], seen["achieved"]) == ({}, 0, None)
    assert 0 < seen["generator_cpu"] < 2
    assert seen["seconds"] >= 0.5


def test_texts_of_a_batch_are_counted(generator: Generator) -> None:
    seen = generator.run(BATCH, [{"text": ["a"] * 8}], seconds=0.3)
    assert seen["items"] == 8 * len(seen["latencies_ms"]) > 8


def test_an_open_loop_sends_all_that_was_due(generator: Generator) -> None:
    seen = generator.run(SERVER, TEXT, seconds=1.0, rate=100.0, seed=3)
    again = generator.run(SERVER, TEXT, seconds=1.0, rate=100.0, seed=3)
    assert 70 < len(seen["latencies_ms"]) < 130
    assert len(again["latencies_ms"]) == len(seen["latencies_ms"]), "the same seed"
    assert seen["achieved"] > 0.9
    assert seen["failures"] == {}


def test_what_settles_is_not_counted(generator: Generator) -> None:
    seen = generator.run(SERVER, TEXT, seconds=0.5, settle_s=1.0, rate=100.0)
    assert 20 < len(seen["latencies_ms"]) < 80


def test_a_refusal_is_shed_and_not_a_failure(tiny_server: Server) -> None:
    with Generator(tiny_server.url, "summarize") as refused:
        seen = refused.run(SERVER, TEXT, seconds=1.0, rate=40.0)
    assert seen["failures"] == {}
    assert seen["shed"] == pytest.approx(len(seen["latencies_ms"]), abs=1)


def test_an_answer_of_the_wrong_shape_is_a_failure(tiny_server: Server) -> None:
    with Generator(tiny_server.url, "qa") as wrong:
        seen = wrong.run(SINGLE_STREAM, [{"question": "q", "context": "c"}], seconds=0.3)
    assert seen["latencies_ms"] == []
    assert any("expected a list of 1 results, got 'wrong'" in fault for fault in seen["failures"])


def test_a_server_that_is_gone_fails_every_request() -> None:
    with Generator(f"http://127.0.0.1:{free_port()}", "classify") as nobody:
        seen = nobody.run(SERVER, TEXT, seconds=0.3, rate=20.0)
    assert seen["latencies_ms"] == []
    assert sum(seen["failures"].values()) > 0


def test_a_generator_that_fails_is_reported_with_its_last_words(tiny_server: Server) -> None:
    with (
        pytest.raises(LoadError, match="KeyError: 'nonsense'"),
        Generator(tiny_server.url, "nonsense") as broken,
    ):
        broken.run(SINGLE_STREAM, TEXT, seconds=0.1)


def test_an_open_loop_sees_a_pause_that_a_closed_loop_hides() -> None:
    """The server stops for two seconds in both; only who counts from the due time is told."""
    port = free_port()
    with (
        started(tiny_command(port), port, env={}, timeout_s=20) as server,
        Generator(server.url, "classify") as generator,
    ):

        def pause() -> None:
            time.sleep(0.7)
            os.kill(server.pid, signal.SIGSTOP)
            time.sleep(2.0)
            os.kill(server.pid, signal.SIGCONT)

        p99_ms = {}
        for scenario in (SINGLE_STREAM, SERVER):
            pausing = threading.Thread(target=pause)
            pausing.start()
            seen = generator.run(scenario, TEXT, seconds=4.0, rate=50.0)
            pausing.join()
            assert seen["failures"] == {}
            assert max(seen["latencies_ms"]) > 1800, "the pause was met"
            p99_ms[scenario.name] = np.percentile(seen["latencies_ms"], 99)
    assert p99_ms["server"] > 1500
    assert p99_ms["single_stream"] < 200


def test_stages_of_the_server_are_averaged() -> None:
    class Answer:
        headers = {"Server-Timing": "queue;dur=1.00, infer;dur=3.00, total;dur=5.00"}  # noqa: RUF012

    recorder = Recorder()
    recorder.request("/classify", 6.0, None, Answer())
    recorder.request("/classify", 6.0, None, Answer())
    assert mean_stages_ms(recorder.take()) == {"queue": 1.0, "infer": 3.0, "total": 5.0}
    assert mean_stages_ms(recorder.take()) == {}


def test_records_of_workers_add_up() -> None:
    one, two = Recorder(), Recorder()
    one.request("/classify", 6.0, None)
    two.request("/classify", 7.0, None)
    two.request("/classify", 8.0, OSError("gone"))
    two.generator_cpu = 0.5
    one.add(two.take())
    seen = one.take()
    assert seen["latencies_ms"] == [6.0, 7.0]
    assert (seen["failures"], seen["generator_cpu"]) == ({"gone": 1}, 0.5)


USED = """
import sys
from load_tests.generator import Generator
from load_tests.scenarios import SINGLE_STREAM
with Generator(sys.argv[1], "classify") as generator:
    generator.run(SINGLE_STREAM, [{"text": "a"}], seconds=0.2)
print({"locust", "gevent"} & sys.modules.keys())
"""


def test_locust_stays_out_of_the_process_that_uses_it(tiny_server: Server) -> None:
    """In one of its own: other tests of this one may have imported it."""
    command = [sys.executable, "-c", USED, tiny_server.url]
    assert subprocess.check_output(command, cwd=ROOT, text=True).strip() == "set()"
