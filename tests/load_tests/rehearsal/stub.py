"""A server of a few lines that lives as ours does: supervised, ready, asked, drained, gone.

python stub.py --host HOST --port PORT; TRANSFER_VARIANTS names what it says it is, TRANSFER_DRAIN_S
how long it answers after SIGTERM, though it is not ready any more; STUB_FAILS: it ends at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORKER = "--worker"
ROWS = [{"task": "classify", "model": "intent", "loaded": True}]
draining = threading.Event()


class Stub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/models":
            self.answer(200, {"models": ROWS})
        else:
            self.answer(503 if draining.is_set() and self.path == "/readyz" else 200, {})

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        results = [{"label": "transfer"}] * (1 if isinstance(text, str) else len(text))
        variant = os.environ.get("TRANSFER_VARIANTS", "")
        self.answer(200, {"variant": variant, "results": results})

    def answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


def serve() -> None:
    """The worker: answers until SIGTERM and the drain after it."""
    port = int(sys.argv[sys.argv.index("--port") + 1])
    server = ThreadingHTTPServer((sys.argv[sys.argv.index("--host") + 1], port), Stub)
    server.daemon_threads = True

    def end(*_: Any) -> None:
        draining.set()
        drain_s = float(os.environ.get("TRANSFER_DRAIN_S", "0"))
        threading.Timer(drain_s, server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    server.serve_forever(0.05)


def supervise() -> int:
    """One worker, which is replaced when it dies; in a container the supervisor ends instead."""
    ending = threading.Event()
    while True:
        worker = subprocess.Popen([sys.executable, *sys.argv, WORKER])

        def end(*_: Any, worker: subprocess.Popen[bytes] = worker) -> None:
            ending.set()
            worker.terminate()

        signal.signal(signal.SIGTERM, end)
        code = worker.wait()
        if ending.is_set():
            return code
        if "BENTOML_CONTAINERIZED" in os.environ:
            return 1


if __name__ == "__main__":
    if os.environ.get("STUB_FAILS"):
        sys.exit("this stub never starts")
    sys.exit(serve() if WORKER in sys.argv else supervise())
