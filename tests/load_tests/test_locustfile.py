"""Through real processes only: Locust patches the standard library of whoever imports it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from load_tests.server import ROOT, Server, free_port, serving, started
from tests.load_tests.conftest import tiny_command
from tests.load_tests.tiny_server import ANSWERED

FILE = "load_tests/locustfile.py"
pytestmark = pytest.mark.alone


def locust(host: str, *more: str, file: str = FILE) -> list[str]:
    command = [sys.executable, "-m", "locust", "-f", file, "--headless", "--only-summary"]
    return [*command, "--host", host, *more]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def worker(port: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "locust", "-f", FILE, "--worker", "--master-port", port]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def counts(host: str, folder: Path, *users: str) -> dict[str, int]:
    """Requests by name after two seconds; not one may have failed."""
    more = ["-u", "3", "-r", "3", "-t", "2s", "--csv", str(folder / "run"), *users]
    done = run(*locust(host, *more))
    busy = "INVALID: the generator used" in done.stderr  # by a closed loop on a small machine
    assert done.returncode == int(busy), done.stdout + done.stderr
    rows = list(csv.DictReader((folder / "run_stats.csv").read_text().splitlines()))
    assert {row["Failure Count"] for row in rows} == {"0"}
    return {row["Name"]: int(row["Request Count"]) for row in rows}


def recorded(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_it_runs_as_documented(tiny_server: Server, tmp_path: Path) -> None:
    seen = counts(tiny_server.url, tmp_path, "ClassifyUser", "SummarizeUser")
    assert seen["/classify"] > 0
    assert seen["/summarize (429, shed)"] > 0


def test_the_real_service_answers_every_example(
    published: Mapping[str, str], tmp_path: Path
) -> None:
    with serving([], env=published) as server:
        seen = counts(server.url, tmp_path, "ClassifyUser", "QaUser", "SummarizeUser")
    assert {"/classify", "/qa", "/summarize"} <= seen.keys()


def test_a_service_with_keys_is_asked_with_one(
    published: Mapping[str, str], tmp_path: Path
) -> None:
    key = "a-key-of-the-load-test"
    with serving([], env={**published, "TRANSFER_API_KEYS": key}) as server:
        assert counts(server.url, tmp_path, "--api-key", key, "ClassifyUser")["/classify"] > 0


def test_promises_decide_the_exit_code(tiny_server: Server, tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    more = ["-u", "8", "-r", "100", "-t", "2s", "--scenario", "server", "--rate", "40"]
    more += ["--record", str(record), "--slo-p99-ms"]
    kept = run(*locust(tiny_server.url, *more, "5000", "ClassifyUser"))
    assert kept.returncode == 0, kept.stderr
    seen = recorded(record)
    assert (seen["scenario"], seen["slo_missed"], seen["invalid"]) == ("server", [], [])
    assert 40 < len(seen["latencies_ms"]) < 120
    assert seen["latency_ms"]["n"] == len(seen["latencies_ms"])
    broken = run(*locust(tiny_server.url, *more, "0.001", "ClassifyUser"))
    assert broken.returncode == 1
    assert "promised are 0.001" in broken.stderr


@pytest.mark.parametrize(
    ("user", "promise", "missed"),
    [
        ("QaUser", [], "requests failed"),
        ("QaUser", ["--slo-failures", "1"], ""),
        ("SummarizeUser", [], ""),
        ("SummarizeUser", ["--slo-shed", "0.1"], "requests were shed"),
        ("SummarizeUser", ["--slo-shed", "0.9"], ""),
    ],
)
def test_failures_and_shed_load_count_without_a_promised_p99(
    tiny_server: Server, user: str, promise: list[str], missed: str
) -> None:
    """`/qa` always fails, every second request to `/summarize` is shed."""
    more = ["-u", "4", "-r", "100", "-t", "2s", "--scenario", "server", "--rate", "20"]
    done = run(*locust(tiny_server.url, *more, *promise, user))
    told = [line for line in done.stderr.splitlines() if line.startswith("SLO:")]
    assert [missed in line for line in told] == ([True] if missed else []), told
    assert done.returncode == int(bool(missed) or "INVALID:" in done.stderr)


def test_an_invalid_run_fails_without_any_promise(tiny_server: Server) -> None:
    """More than one process can release is due, so much that it must fall behind."""
    more = ["-u", "1", "-t", "2s", "--scenario", "server", "--rate", "100000"]
    done = run(*locust(tiny_server.url, *more, "--slo-failures", "1", "ClassifyUser"))
    assert (done.returncode, "INVALID: the generator" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_an_outage_until_the_end_is_a_failure(workers: int, tmp_path: Path) -> None:
    record, port, bind = tmp_path / "run.json", free_port(), str(free_port())
    more = ["-u", "8", "-r", "100", "-t", "4s", "--scenario", "server", "--rate", "40"]
    more += ["--slo-p99-ms", "500", "--record", str(record), "ClassifyUser"]
    if workers:
        more += ["--master", "--master-bind-port", bind, "--expect-workers", str(workers)]
    with started(tiny_command(port, "stalls"), port, env={}, timeout_s=20) as server:
        others = [worker(bind) for _ in range(workers)]
        done = run(*locust(server.url, *more))
        for other in others:
            other.communicate(timeout=20)
    assert done.returncode == 1
    assert "no answer when the run ended" in done.stderr
    seen = recorded(record)
    assert len(seen["latencies_ms"]) == ANSWERED
    assert seen["failures"]["no answer when the run ended"] > 50, "140 were due, 40 at the end"


def test_a_shape_steps_through_rates(tiny_server: Server, tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    steps = ["--scenario", "server", "-u", "8", "--steps", "20,80", "--step-s", "1.5"]
    file = f"{FILE},load_tests/shapes.py"
    done = run(*locust(tiny_server.url, *steps, "--record", str(record), "ClassifyUser", file=file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert 80 < len(recorded(record)["latencies_ms"]) < 200, "30 and 120 were due"


def test_a_master_has_every_latency_of_its_workers(tiny_server: Server, tmp_path: Path) -> None:
    port, record = str(free_port()), tmp_path / "run.json"
    more = ["--scenario", "server", "--rate", "60", "-u", "8", "-r", "100", "-t", "3s"]
    master = locust(tiny_server.url, *more, "--record", str(record), "--master")
    master += ["--master-bind-port", port, "--expect-workers", "2", "ClassifyUser"]
    workers = [worker(port) for _ in range(2)]
    done = run(*master)
    said = [process.communicate(timeout=20)[0].decode() for process in workers]
    assert done.returncode == 0, done.stderr + "".join(said)
    seen = recorded(record)
    assert 90 < len(seen["latencies_ms"]) < 270, "180 were due, of both workers together"
    assert seen["achieved"] > 0.9


class Slow(BaseHTTPRequestHandler):
    """Answers well, a second later; counts."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        self.asked.append(self.path)
        time.sleep(1.0)
        results = [{"label": "a", "score": 1.0}] * (1 if isinstance(text, str) else len(text))
        data = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[str]:
    Slow.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_one_that_is_told_to_stop_waits_for_the_answers_that_it_has_not_got(
    slow: str, tmp_path: Path
) -> None:
    """Locust asks for the record before it stops its users; every request is in it."""
    record = tmp_path / "run.json"
    more = ["-u", "8", "-r", "100", "--scenario", "server", "--rate", "50", "--stop-timeout", "20"]
    command = locust(slow, *more, "--record", str(record), "ClassifyUser")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while len(Slow.asked) < 12 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert len(recorded(record)["latencies_ms"]) == len(Slow.asked) >= 12
