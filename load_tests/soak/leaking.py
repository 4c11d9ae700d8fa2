"""A server that leaks on purpose: 200 kB with every request, and with some a file and a thread.

The control of `load_tests.soak.steady`: a check that does not find this would find nothing.

    python -m load_tests.soak.leaking 3000
"""

from __future__ import annotations

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEPT_BYTES = 200_000
SOME = 10  # with every tenth request a file is opened and a thread started

_kept: list[bytes] = []
_files: list[int] = []
_for_ever = threading.Event()


class Leaking(BaseHTTPRequestHandler):
    """Answers everything with an empty object."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b'{"models": []}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _kept.append(os.urandom(16) * (KEPT_BYTES // 16))
        if len(_kept) % SOME == 0:
            _files.append(os.open(os.devnull, os.O_RDONLY))
            threading.Thread(target=_for_ever.wait, daemon=True).start()
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Leaking).serve_forever()
