"""Saturating load from `wrk`, one thread, closed loop: how many requests a second a server answers.

In: an address and JSON bodies, sent over and over in turn. Out: a `Load`: rate, latency
percentiles from wrk's histogram, faults, and the processor time of generator and server. One wrk
thread costs a tenth of what a generator in Python does, which matters where both share two cores.
Used by `load_tests.peers` and `load_tests.profile_request`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_tests.cpu import CpuClock
from load_tests.modules import LoadError
from services.errors import UsageError

SCRIPT = Path(__file__).with_name("wrk.lua")
CONNECTIONS = 32
MARK = "WRK "


@dataclass(frozen=True)
class Load:
    """What one phase of load saw.

    requests: answered, the refused ones among them; rate: good answers a second
    failures: status of 400 or more, broken or refused connections, answers later than 10 s
    generator_cpu, server_cpu, others_cpu: cores used, 1.0 is one core all the time
    """

    requests: int
    seconds: float
    rate: float
    failures: int
    latency_ms: dict[str, float]
    generator_cpu: float
    server_cpu: float
    others_cpu: float

    @property
    def server_us(self) -> float:
        """Processor time of the server for one request, in microseconds."""
        return 1e6 * self.server_cpu * self.seconds / max(self.requests, 1)


def require_wrk() -> str:
    """The path of the program; raises UsageError that says how to get it."""
    found = shutil.which("wrk")
    if not found:
        raise UsageError(
            "wrk is not installed; expected the HTTP load generator on the PATH.",
            "Install it: `apt-get install wrk` (Debian, Ubuntu) or `brew install wrk` (macOS).",
        )
    return found


def wrk_version() -> str:
    """What `wrk -v` calls itself, like 4.1.0."""
    said = subprocess.run([require_wrk(), "-v"], check=False, capture_output=True, text=True)
    return (said.stdout + said.stderr).partition(" [")[0].removeprefix("wrk ").strip()


def run_wrk(
    url: str,
    bodies: Sequence[Any],
    seconds: float,
    *,
    server_pid: int,
    connections: int = CONNECTIONS,
) -> Load:
    """POST `bodies` in turn to `url` for about `seconds` (whole ones: wrk takes no others).

    Raises UsageError without wrk, LoadError when it fails or the server gives no good answer.
    """
    with tempfile.TemporaryDirectory(prefix="transfer-wrk-") as folder:
        path = Path(folder) / "bodies.txt"
        path.write_text("\n".join(map(json.dumps, bodies)) + "\n", encoding="utf-8")
        command = [require_wrk(), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        command += ["--timeout", "10s", "-s", str(SCRIPT), url, "--", str(path)]
        with CpuClock(server_pid) as clock:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=seconds + 60
            )
    if done.returncode:
        raise LoadError(
            f"wrk failed with exit code {done.returncode}: {done.stderr.strip()[-500:]}",
            f"Run it by hand: {' '.join(command)}",
        )
    load = parse(done.stdout, clock.children_s, clock.tree_s, clock.others_s)
    if load.rate <= 0:
        raise LoadError(
            f"{url} gave no good answer in {load.seconds:.1f} s; {load.failures} requests failed.",
            "Look at the server's log.",
        )
    return load


def parse(output: str, generator_s: float, server_s: float, others_s: float) -> Load:
    """A `Load` from what the Lua script printed; the processor times are in seconds."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if not lines:
        raise LoadError(
            f"wrk printed no summary; its output ends with {output[-300:]!r}.",
            f"Check that it reads {SCRIPT.name} (option -s).",
        )
    seen = json.loads(lines[-1][len(MARK) :])
    seconds, refused = seen["seconds"], seen["refused"]
    broken = sum(seen[k] for k in ("connect_errors", "read_errors", "write_errors", "timeouts"))
    return Load(
        requests=seen["requests"],
        seconds=seconds,
        rate=(seen["requests"] - refused) / seconds,
        failures=refused + broken,
        latency_ms=seen["latency_ms"],
        generator_cpu=generator_s / seconds,
        server_cpu=server_s / seconds,
        others_cpu=others_s / seconds,
    )
