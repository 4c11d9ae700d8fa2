"""Where the processor time of a /classify request goes, by part, function and line.

    python -m load_tests.profile_request                       # one 8-word text a request
    python -m load_tests.profile_request --batch 32 --words 120 --variant intent/full-int8

Out: Markdown on stdout, JSON with `--json PATH`. The server is started for it, loaded by wrk, and
sampled from outside by py-spy (the `dev` extra), twice: threads that run, and the one thread that
holds the interpreter's lock. Linux lets root or a parent look into a process; elsewhere py-spy says
what it needs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from load_tests import frames
from load_tests.cpu import own_cpu_s
from load_tests.environment import busy_before, environment
from load_tests.frames import Stack
from load_tests.modules import LoadError
from load_tests.server import serving, wait_planned
from load_tests.texts import LONG_WORDS, SHORT_WORDS, groups, long_texts, short_texts
from load_tests.wrk import CONNECTIONS, Load, require_wrk, run_wrk
from services.errors import TransferError, UsageError
from services.settings import prepare_bentoml

RATE_HZ = 200
WARM_UP_S = 2.0
TOP = 30


def bodies_of(model: str, variant: str, words: int, batch: int) -> list[dict[str, Any]]:
    """One body for each text, or for each list of `batch` texts."""
    texts = short_texts() if words == SHORT_WORDS else long_texts()
    named = {"model": model, "variant": variant}
    if batch == 1:
        return [{"text": text, **named} for text in texts]
    return [{"text": group, **named} for group in groups(texts, batch)]


def profile(
    key: str,
    *,
    words: int = SHORT_WORDS,
    batch: int = 1,
    seconds: float = 6.0,
    connections: int = CONNECTIONS,
) -> dict[str, Any]:
    """Load one variant's server and sample it; raises LoadError, ServerError or UsageError.

    key: model/variant
    """
    require_wrk()
    program = _require_py_spy()
    model, _, variant = key.partition("/")
    bodies = bodies_of(model, variant, words, batch)
    prepare_bentoml()
    before = busy_before()
    with serving([key]) as server:
        url = f"{server.url}/classify"

        def load(duration: float) -> Load:
            return run_wrk(url, bodies, duration, server_pid=server.pid, connections=connections)

        wait_planned(server)
        load(WARM_UP_S)
        pid = busiest(server.pid)
        plain = load(seconds)
        running, sampled = _sampled(program, pid, seconds, load)
        holding, _ = _sampled(program, pid, seconds, load, "--gil")
    ticks = RATE_HZ * seconds
    return {
        "variant": key,
        "words": words,
        "batch": batch,
        "connections": connections,
        "requests_per_s": plain.rate,
        "requests_per_s_sampled": sampled.rate,
        "failures": plain.failures,
        "latency_ms": plain.latency_ms,
        "server_cores": plain.server_cpu,
        "generator_cores": plain.generator_cpu,
        "server_us_per_request": plain.server_us,
        "lock_held": sum(stack.samples for stack in holding) / ticks,
        "parts": frames.by_part(running),
        "lock_parts": frames.by_part(holding),
        "threads": frames.by_thread(running),
        "lock_threads": frames.by_thread(holding),
        "functions": _first(frames.by_function(running)),
        "with_callees": _first(frames.with_callees(running)),
        "lines": _first(frames.by_line(running)),
        "lock_lines": _first(frames.by_line(holding)),
        "samples": sum(stack.samples for stack in running),
        "environment": {**environment(), "validity": before},
    }


def busiest(pid: int) -> int:
    """The process of a tree that has used most processor time: the worker, not its supervisor."""
    root = psutil.Process(pid)
    return int(max([root, *root.children(recursive=True)], key=own_cpu_s).pid)


def _require_py_spy() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.is_file() else shutil.which("py-spy")
    if not found:
        raise UsageError(
            "py-spy is not installed; expected the sampling profiler of the `dev` extra.",
            'Install it: `pip install -c constraints.txt -e ".[dev]"`.',
        )
    return found


def _sampled(
    program: str, pid: int, seconds: float, load: Any, *options: str
) -> tuple[list[Stack], Load]:
    """The stacks that py-spy saw while the load ran, and that load."""
    with tempfile.TemporaryDirectory(prefix="transfer-profile-") as folder:
        out = Path(folder) / "stacks.txt"
        command = [program, "record", "--format", "raw", "--threads", "--output", str(out)]
        command += ["--pid", str(pid), "--duration", str(round(seconds)), "--rate", str(RATE_HZ)]
        command += options
        recorder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(0.2)
        try:
            seen = load(seconds + 1)
            said, _ = recorder.communicate(timeout=seconds + 60)
        finally:
            if recorder.poll() is None:
                recorder.kill()
                recorder.wait()
        if recorder.returncode or not out.is_file():
            raise LoadError(
                f"py-spy failed with exit code {recorder.returncode}: "
                f"{said.decode(errors='replace').strip()[-500:]}",
                "It needs the right to look into another process: run it as root.",
            )
        return frames.parse(out.read_text(encoding="utf-8")), seen


def _first(found: Mapping[str, float]) -> dict[str, float]:
    return dict(list(found.items())[:TOP])


def markdown(record: Mapping[str, Any]) -> str:
    """The summary by parts, then the lines that cost most."""
    us = record["server_us_per_request"]
    at = record["environment"]
    head = (
        f"# {record['variant']}, {record['words']} words, {record['batch']} text(s) a request\n\n"
        f"{record['requests_per_s']:,.0f} requests/s of {record['connections']} connections; "
        f"server {record['server_cores']:.2f} cores, wrk {record['generator_cores']:.2f}; "
        f"{us:,.0f} us of processor time a request; the interpreter's lock was held "
        f"{record['lock_held']:.0%} of the time; p50 {record['latency_ms']['p50']:.1f} ms, "
        f"p99 {record['latency_ms']['p99']:.1f} ms; {record['failures']} failures. "
        f"With the sampler: {record['requests_per_s_sampled']:,.0f}/s, {record['samples']:,} "
        f"samples. {at.get('cores')} cores ({at.get('cpu', 'unknown CPU')}), "
        f"commit {at.get('commit', 'unknown')}.\n"
    )
    parts = [
        f"| {part} | {share:.1%} | {us * share:,.0f} | {record['lock_parts'].get(part, 0.0):.1%} |"
        for part, share in record["parts"].items()
    ]
    columns = "| part | share of running threads | us a request | share of the lock |"
    table = "\n".join([columns, "| --- | ---: | ---: | ---: |", *parts])
    return "\n".join(
        [
            head,
            table,
            _listing("Threads", record["threads"]),
            _listing("Threads that held the lock", record["lock_threads"]),
            _listing("Functions, without what they call", record["functions"]),
            _listing("Functions of services/, with what they call", record["with_callees"]),
            _listing("Lines", record["lines"]),
            _listing("Lines that held the lock", record["lock_lines"]),
        ]
    )


def _listing(title: str, found: Mapping[str, float]) -> str:
    rows = [f"    {share:6.1%}  {name}" for name, share in found.items()]
    return "\n".join([f"\n## {title}\n", *rows])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variant", default="intent/distilled-int8", help="model/variant")
    parser.add_argument("--words", type=int, choices=(SHORT_WORDS, LONG_WORDS), default=SHORT_WORDS)
    parser.add_argument("--batch", type=int, default=1, help="texts a request")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each of three phases")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--json", type=Path, help="write the whole record here")
    chosen = parser.parse_args(arguments)
    try:
        record = profile(
            chosen.variant,
            words=chosen.words,
            batch=chosen.batch,
            seconds=chosen.seconds,
            connections=chosen.connections,
        )
    except TransferError as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    if chosen.json:
        chosen.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(markdown(record))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
