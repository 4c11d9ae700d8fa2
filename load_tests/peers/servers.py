"""The servers that are compared: ours and the peers, each a process on a free port.

In: the published variant that all of them serve. Out: an address that takes POSTs, and the body
that this server wants for a text. All stay up while one of them is under load: an idle server
costs nothing, and the phases can be interleaved.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from load_tests.cpu import CpuClock
from load_tests.modules import LoadError, run_module
from load_tests.peer_servers.names import FOLDER, INTRA_OP
from load_tests.server import Server, free_port, serving, started, wait_planned
from load_tests.texts import groups
from load_tests.wrk import Load, run_wrk

TIMEOUT_S = 90.0
PROBES = 20
BATCH_CONNECTIONS = 8  # enough to keep all cores busy, and little to wait for at the end

Bodies = Callable[[Sequence[str]], Any]


@dataclass(frozen=True)
class Target:
    """One way to ask one server: `batch` texts a request, as `body` puts them."""

    name: str
    server: Server
    body: Bodies
    batch: int = 1

    @property
    def url(self) -> str:
        return f"{self.server.url}/classify"

    def load(self, texts: Sequence[str], seconds: int) -> Load:
        """Saturate it; requests of several texts share none, so none is computed for two."""
        bodies = [self.body(group) for group in groups(texts, self.batch)]
        if self.batch > 1:
            return run_to_the_end(self.url, bodies, seconds, server_pid=self.server.pid)
        return run_wrk(self.url, bodies, seconds, server_pid=self.server.pid)

    def labels(self, texts: Sequence[str]) -> list[str]:
        """The label of every text, one request each."""
        return [label_of(post(self.url, self.body([text]))) for text in texts]


@contextmanager
def ours(variants: Sequence[str]) -> Iterator[Server]:
    """This repository's service with variants of `intent`."""
    with planned([f"intent/{variant}" for variant in variants]) as server:
        yield server


@contextmanager
def planned(keys: Sequence[str]) -> Iterator[Server]:
    """Serve variants, and begin when it is measured how to call them."""
    with serving(keys, timeout_s=TIMEOUT_S) as server:
        wait_planned(server)
        yield server


def our_target(server: Server, variant: str, batch: int) -> Target:
    def body(texts: Sequence[str]) -> Any:
        text = list(texts) if batch > 1 and len(texts) > 1 else texts[0]
        return {"text": text, "model": "intent", "variant": variant}

    return Target(f"ours, {batch} text(s)", server, body, batch)


@contextmanager
def fastapi(folder: Path, intra_op: int) -> Iterator[Target]:
    """FastAPI + ONNX Runtime (`load_tests.peer_servers.fastapi_ort`)."""
    port = free_port()
    command = [sys.executable, "-m", "load_tests.peer_servers.fastapi_ort", str(port)]
    with started(command, port, env=_told(folder, intra_op), timeout_s=TIMEOUT_S) as server:
        yield Target(f"FastAPI, {intra_op} intra-op", server, lambda texts: {"text": texts[0]})


@contextmanager
def bentoml(folder: Path, intra_op: int, service: str = "Batching") -> Iterator[Target]:
    """BentoML with `batchable=True` (`load_tests.peer_servers.bentoml_batchable`)."""
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve"]
    command += [f"load_tests.peer_servers.bentoml_batchable:{service}"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with started(command, port, env=_told(folder, intra_op), timeout_s=TIMEOUT_S) as server:
        name = f"BentoML {service}, {intra_op} intra-op"
        yield Target(name, server, lambda texts: {"texts": [texts[0]]})


@contextmanager
def quiet_bentoml(folder: Path, intra_op: int) -> Iterator[Target]:
    """The same without access log, metrics and tracing."""
    with bentoml(folder, intra_op, "Quiet") as target:
        yield target


def run_to_the_end(url: str, bodies: Sequence[Any], seconds: int, *, server_pid: int) -> Load:
    """Saturate a server with large requests, and count those that are answered after the end.

    wrk leaves these out: of 32 connections with 32 texts each, up to 1,024 texts.
    """
    with CpuClock(server_pid) as clock:
        seen = drive_module(
            url, bodies, seconds=seconds, connections=BATCH_CONNECTIONS, arrivals="closed"
        )
    good = len(seen["latencies_ms"])
    if not good:
        raise LoadError(
            f"{url} gave no good answer in {seconds} s; faults: {seen['failures']}.",
            "Look at the server's log.",
        )
    return Load(
        requests=seen["due"],
        seconds=seen["seconds"],
        rate=good / seen["seconds"],
        failures=sum(seen["failures"].values()),
        latency_ms=seen["latency_ms"],
        generator_cpu=seen["generator_cpu"],
        server_cpu=clock.tree_s / seen["seconds"],
        others_cpu=clock.others_s / seen["seconds"],
    )


def drive_module(
    url: str,
    bodies: Sequence[Any],
    *,
    seconds: float,
    connections: int,
    arrivals: str,
    rate: float = 0.0,
    seed: int = 0,
) -> dict[str, Any]:
    """What `load_tests.open_loop` saw, in a process of its own."""
    parts = urlsplit(url)
    request = {
        "host": parts.hostname,
        "port": parts.port,
        "path": parts.path,
        "bodies": list(bodies),
        "rate": rate,
        "seconds": seconds,
        "connections": connections,
        "arrivals": arrivals,
        "seed": seed,
    }
    return dict(run_module("load_tests.open_loop", request, timeout_s=seconds + 60))


def _told(folder: Path, intra_op: int) -> dict[str, str]:
    return {FOLDER: str(folder), INTRA_OP: str(intra_op), "TOKENIZERS_PARALLELISM": "false"}


def post(url: str, body: Any, timeout_s: float = 60.0) -> Any:
    """The JSON answer to one POST; raises LoadError with the status and the body's beginning."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:300]
        raise LoadError(
            f"{url} answered {error.code} to a request of the load test: {said}",
            "Look at the server's log; it has to answer before it can be measured.",
        ) from error
    except (OSError, ValueError) as error:
        raise LoadError(f"{url} gave no answer: {error!r}.", "Look at the server's log.") from error


def label_of(answer: Any) -> str:
    """The label in an answer of ours, of FastAPI's or of BentoML's."""
    found = answer["results"] if isinstance(answer, dict) and "results" in answer else answer
    first = found[0] if isinstance(found, list) else found
    return str(first["label"])


def agreement(labels: Sequence[str], others: Sequence[str]) -> float:
    """Share of equal labels: servers that do the same work give the same answers."""
    return sum(a == b for a, b in zip(labels, others, strict=True)) / len(labels)
