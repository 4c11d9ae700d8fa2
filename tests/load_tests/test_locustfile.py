"""Through real processes only: Locust patches the standard library of whoever imports it."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from load_tests.bodies import examples
from load_tests.measure import LoadError, Plan, measure, run_load, run_module
from load_tests.server import ROOT, Server, serving

SHORT = Plan(settle_s=0.2, single_s=0.5, saturated_s=0.5, users=4)


def run_locust(host: str, folder: Path, *users: str) -> dict[str, int]:
    """Requests by name after two seconds; not one may have failed."""
    command = [sys.executable, "-m", "locust", "-f", "load_tests/locustfile.py", "--headless"]
    command += ["--host", host, "-u", "3", "-r", "3", "-t", "2s", "--only-summary"]
    command += ["--csv", str(folder / "run"), *users]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.DictReader((folder / "run_stats.csv").read_text().splitlines()))
    assert {row["Failure Count"] for row in rows} == {"0"}
    return {row["Name"]: int(row["Request Count"]) for row in rows}


def test_it_runs_as_documented(tiny_server: Server, tmp_path: Path) -> None:
    counts = run_locust(tiny_server.url, tmp_path, "ClassifyUser", "SummarizeUser")
    assert counts["/classify"] > 0
    assert counts["/summarize (429, shed)"] > 0


def test_the_real_service_answers_every_example(
    published: Mapping[str, str], tmp_path: Path
) -> None:
    with serving([], env=published) as server:
        counts = run_locust(server.url, tmp_path, "ClassifyUser", "QaUser", "SummarizeUser")
    assert {"/classify", "/qa", "/summarize"} <= counts.keys()


def test_good_answers_are_timed_one_by_one(tiny_server: Server) -> None:
    single, saturated = run_load(tiny_server.url, "classify", examples("classify"), SHORT)
    assert single["users"] == 1
    assert saturated["users"] == 4
    for phase in (single, saturated):
        latencies_ms = phase["latencies_ms"]
        assert latencies_ms and all(value > 0 for value in latencies_ms)
        assert any(value != round(value, 2) for value in latencies_ms), "rounded"
        assert phase["seconds"] > 0
        assert phase["failures"] == {}
        assert phase["shed"] == 0
        assert phase["generator_cpu"] > 0


def test_a_refusal_is_shed_and_not_a_failure(tiny_server: Server) -> None:
    single, _ = run_load(tiny_server.url, "summarize", examples("summarize"), SHORT)
    assert single["failures"] == {}
    assert single["shed"] == pytest.approx(len(single["latencies_ms"]), abs=1)


def test_an_answer_of_the_wrong_shape_is_a_failure(tiny_server: Server) -> None:
    with pytest.raises(LoadError, match="expected a list of 1 results, got 'wrong'"):
        measure(tiny_server, "qa", [{"question": "q", "context": "c"}], SHORT)


def test_a_measurement_has_latency_throughput_and_memory(tiny_server: Server) -> None:
    row = measure(tiny_server, "classify", examples("classify"), SHORT)
    assert row["latency_ms"]["p50"] <= row["latency_ms"]["p95"] <= row["latency_ms"]["p99"]
    assert row["throughput_rps"] > 0
    assert 5 < row["idle_pss_mb"] <= row["peak_pss_mb"]
    assert row["load"]["saturated"]["users"] == 4
    assert row["load"]["single_stream"]["requests"] == row["latency_ms"]["n"]


def test_a_failing_process_is_reported_with_its_traceback() -> None:
    with pytest.raises(LoadError, match="KeyError: 'task'"):
        run_module("load_tests.drive", {"phases": []}, timeout_s=30)


def test_locust_stays_out_of_this_process() -> None:
    assert "locust" not in sys.modules
    assert "gevent" not in sys.modules
