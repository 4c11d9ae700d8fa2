"""A real server process for chosen variants, from start to end.

In: variants (`model/variant`). Out: its URL, how long it took to be ready, its memory. Run by
`transfer bench`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from load_tests.memory import tree_pss_mb
from services.demo import serve_command
from services.errors import TransferError

ROOT = Path(__file__).resolve().parents[1]
LOG_LINES = 20
STOP_S = 10.0


class ServerError(TransferError):
    """The server did not come up, or did not stay up."""

    code = "server_failed"


@dataclass(frozen=True)
class Server:
    """A process tree that answers at `url`; cold_start_s: until the first 200 of /readyz."""

    url: str
    pid: int
    cold_start_s: float
    log: Path

    def pss_mb(self) -> float:
        return tree_pss_mb(self.pid)

    def log_tail(self) -> str:
        return tail(self.log)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    variants: Sequence[str], *, timeout_s: float = 60.0, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Serve `variants` on a free port for as long as the block runs.

    Raises ServerError with the last log lines when the process ends or is not ready in time.
    """
    port = free_port()
    settings = {"TRANSFER_VARIANTS": ",".join(variants), **(env or {})}
    with started(
        serve_command("127.0.0.1", port), port, env=settings, timeout_s=timeout_s
    ) as server:
        yield server


@contextmanager
def started(
    command: Sequence[str], port: int, *, env: Mapping[str, str], timeout_s: float
) -> Iterator[Server]:
    """Run `command` until the block ends; it is ready when `/readyz` on `port` answers 200."""
    with tempfile.TemporaryDirectory(prefix="transfer-server-") as folder:
        log = Path(folder) / "server.log"
        begun = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **env}, stdout=output, stderr=output
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_ready(process, url, log, timeout_s)
            yield Server(url, process.pid, time.perf_counter() - begun, log)
        finally:
            stop_tree(process)


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(
                f"The server ended with exit code {process.returncode} before it was ready; "
                f"its last lines:\n{tail(log)}",
                "Run `transfer build` if a variant is missing or does not fit.",
            )
        if _is_ready(url):
            return
        time.sleep(0.05)
    raise ServerError(
        f"{url}/readyz did not answer 200 within {timeout_s:.0f} s; the server's last lines:\n"
        f"{tail(log)}",
        "Look at the log above; a slow machine may need more time.",
    )


def wait_planned(server: Server, timeout_s: float = 120.0, every_s: float = 0.5) -> None:
    """Until the server has measured how to call each variant that it loaded.

    It does so once on a machine, while nobody asks; measured meanwhile, it would seem slower, and
    so would whatever else is measured then. Raises ServerError when it takes longer.
    """
    until = time.monotonic() + timeout_s
    while open_plans := _open_plans(server.url):
        if time.monotonic() > until:
            raise ServerError(
                f"{', '.join(open_plans)} had no measured plan after {timeout_s:.0f} s.",
                "Stop other work on this machine, or look at the server's log.",
            )
        time.sleep(every_s)


def _open_plans(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/models", timeout=10) as answer:
        rows = json.load(answer)["models"]
    return [
        f"{row['model']}/{row['variant']}"
        for row in rows
        if row["loaded"] and not row["plan"]["windows_per_s"]
    ]


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def stop_tree(process: subprocess.Popen[bytes]) -> None:
    """Ask a process and its descendants to stop, then kill those that did not."""
    try:
        tree = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in tree:  # only what is left: a worker that outlived its parent
        if child.is_running():
            child.kill()


def tail(log: Path) -> str:
    """The last lines of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
