"""A tiny real HTTP server with the service's routes, run as a process by the tests.

    python -m tests.load_tests.tiny_server PORT [crash | never-ready | never-planned | stalls]

`/classify` answers well, `/qa` has a wrong shape, `/summarize` refuses every second request
with 429. `/models` has a measured plan from the second time on. It starts a child process, as
BentoML does, whose id `/child` tells. One that stalls answers `ANSWERED` requests, then none.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

ANSWERED = 20


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it the kernel holds back the second of two small packets for 40 ms.
    disable_nagle_algorithm = True
    wbufsize = -1
    ready: ClassVar[bool] = True
    child: ClassVar[int] = 0
    left: ClassVar[Iterator[int]] = itertools.count()
    turns: ClassVar[itertools.count] = itertools.count()
    plans: ClassVar[Iterator[int]] = itertools.count()

    def do_GET(self) -> None:
        if self.path == "/child":
            self.reply(200, self.child)
        elif self.path == "/models":
            plan = {"windows_per_s": float(next(self.plans))}
            row = {"model": "intent", "variant": "full", "loaded": True, "plan": plan}
            rest = {"model": "intent", "variant": "distilled", "loaded": False, "plan": None}
            self.reply(200, {"models": [row, rest]})
        else:
            self.reply(200 if self.ready else 503, {})

    def do_POST(self) -> None:
        if next(self.left, None) is None:
            time.sleep(600)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/classify":
            texts = [body["text"]] if isinstance(body["text"], str) else body["text"]
            self.reply(200, {"results": [{"label": "a", "score": 1.0} for _ in texts]})
        elif self.path == "/qa":
            self.reply(200, {"results": "wrong"})
        elif next(self.turns) % 2:
            self.reply(429, {"error": {"code": "overloaded"}}, ("Retry-After", "0"))
        else:
            texts = [body["text"]] if isinstance(body["text"], str) else body["text"]
            self.reply(200, {"results": [{"summary": "s"} for _ in texts]})

    def reply(self, status: int, value: Any, *headers: tuple[str, str]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (("Content-Type", "application/json"), *headers):
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    port, mode = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    print("the first line of the log", flush=True)
    if mode == "crash":
        raise SystemExit("intent/full has no graph")
    Handler.ready = mode != "never-ready"
    if mode == "stalls":
        Handler.left = iter(range(ANSWERED))
    if mode == "never-planned":
        Handler.plans = itertools.repeat(0)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Handler.child = child.pid
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
