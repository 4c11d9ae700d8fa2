"""The demo: start the service, ask it one thing of every kind, show the answers, go on serving.

transfer demo --port 3000          # what `make demo` ends with; Ctrl-C stops it
transfer demo --once               # stop after the calls
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from services.errors import TransferError, UsageError
from services.examples import EXAMPLES
from services.settings import ROOT

ROUTES = ("/classify", "/qa", "/summarize", "/compare")
READY_S = 120.0


def serve_command(host: str, port: int) -> list[str]:
    """The command that serves this checkout."""
    command = [sys.executable, "-m", "bentoml", "serve", "services.app:Transfer"]
    return [*command, "--host", host, "--port", str(port)]


def demo(port: int, once: bool, say: Callable[[str], None] = print) -> int:
    """Serve on `port`, show one call for each route, and wait for Ctrl-C unless `once`."""
    refuse_taken(port)
    started = time.monotonic()
    server = subprocess.Popen(serve_command("127.0.0.1", port), cwd=ROOT, stdout=sys.stderr)
    try:
        wait_ready(server, port)
        say(f"Ready after {time.monotonic() - started:.1f} s.\n")
        for route in ROUTES:
            show_call(port, route, EXAMPLES[route][0], say)
        say(f"Playground: http://127.0.0.1:{port}/   Ctrl-C stops the service.")
        return 0 if once else server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        try:
            server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            server.kill()


def refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UsageError(
                f"Port {port} is taken; expected a free one.", "E.g. `make demo PORT=3001`."
            )


def wait_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Until /readyz says 200; raises TransferError when the service ends or takes too long."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        if server.poll() is not None:
            raise TransferError(
                f"The service ended with exit code {server.returncode} before it was ready.",
                "Its last lines above say why.",
            )
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TransferError(f"The service was not ready within {READY_S:.0f} s.", "See its log above.")


def show_call(port: int, route: str, body: dict[str, Any], say: Callable[[str], None]) -> None:
    """One call as the curl line that makes it, and its answer."""
    url = f"http://127.0.0.1:{port}{route}"
    sent = json.dumps(body, ensure_ascii=False)
    say(f"curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(sent)}")
    request = urllib.request.Request(
        url, sent.encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = json.load(answer)
    say(textwrap.indent(shortened(content), "    ") + "\n")


def shortened(content: Any, limit: int = 1200) -> str:
    """JSON for people: rounded numbers, cut after `limit` characters."""
    text = json.dumps(_rounded(content), indent=1, ensure_ascii=False)
    return text if len(text) <= limit else text[:limit] + " ..."


def _rounded(content: Any) -> Any:
    if isinstance(content, float):
        return round(content, 4)
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    return content
