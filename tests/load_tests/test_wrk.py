"""The load generator: what its script prints, and a real run against the tiny server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from load_tests import wrk
from load_tests.modules import LoadError
from load_tests.server import Server
from services.errors import UsageError

NEEDS_WRK = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")

PRINTED = """Running 2s test @ http://127.0.0.1:1/classify
  Requests/sec:   1000.00
WRK {"requests": 2000, "seconds": 2.0, "bytes": 9, "refused": 100, "connect_errors": 1, \
"read_errors": 2, "write_errors": 0, "timeouts": 3, "latency_ms": {"mean": 3.0, "p50": 2.5, \
"p90": 4.0, "p99": 9.0, "max": 11.0}}
"""


def test_good_answers_make_the_rate_and_all_others_are_failures() -> None:
    load = wrk.parse(PRINTED, generator_s=0.1, server_s=3.0, others_s=0.5)
    assert (load.requests, load.rate, load.failures) == (2000, 950.0, 106)
    assert load.latency_ms["p99"] == 9.0
    assert (load.generator_cpu, load.server_cpu, load.others_cpu) == (0.05, 1.5, 0.25)
    assert load.server_us == 1500.0


def test_a_run_without_a_summary_is_an_error() -> None:
    with pytest.raises(LoadError, match="no summary"):
        wrk.parse("Running 2s test", 0.0, 0.0, 0.0)


def test_a_machine_without_wrk_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="wrk is not installed") as caught:
        wrk.require_wrk()
    assert "apt-get install wrk" in caught.value.hint


@NEEDS_WRK
def test_bodies_are_posted_in_turn(tiny_server: Server) -> None:
    bodies = [{"text": f'text "{i}"\n'} for i in range(5)]
    url = f"{tiny_server.url}/classify"
    load = wrk.run_wrk(url, bodies, 1, server_pid=tiny_server.pid, connections=2)
    assert load.requests > 10
    assert load.failures == 0
    assert 0 < load.latency_ms["p50"] <= load.latency_ms["p99"] <= load.latency_ms["max"]
    assert load.server_cpu > 0


@NEEDS_WRK
def test_refused_requests_are_no_good_answers(tiny_server: Server) -> None:
    url = f"{tiny_server.url}/summarize"  # refuses every second request
    load = wrk.run_wrk(url, [{"text": "a"}], 1, server_pid=tiny_server.pid, connections=1)
    assert 0.4 < load.failures / load.requests < 0.6


@NEEDS_WRK
def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(LoadError):
        wrk.run_wrk("http://127.0.0.1:9/classify", [{"text": "a"}], 1, server_pid=1)


def test_the_script_lies_beside_the_module() -> None:
    assert Path(wrk.SCRIPT).is_file()
