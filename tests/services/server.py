"""A real server process for tests: `bentoml serve` on a free port, ended with its children."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Server:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until_ready(self, timeout_s: float = 90) -> None:
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            assert self.process.poll() is None, self.output()
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"not ready after {timeout_s} s:\n{self.output()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path, lock: Path | None = None, **settings: str) -> dict[str, str]:
    """This process's environment with a store and a lock of its own, and nothing else of ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TRANSFER_", "BENTOML_"))}
    kept |= {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", **settings}
    return kept | ({"TRANSFER_LOCK": str(lock)} if lock else {})


@contextlib.contextmanager
def serving(
    log: Path,
    env: dict[str, str],
    target: str = "services.app:Transfer",
    cwd: Path = ROOT,
    port: int | None = None,
) -> Iterator[Server]:
    """Start a server; at the end the whole process tree is gone."""
    port = port or free_port()
    command = [sys.executable, "-m", "bentoml", "serve", target]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield Server(f"http://127.0.0.1:{port}", process, log)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        tree = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        for left in [*tree, psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
    process.wait(15)
