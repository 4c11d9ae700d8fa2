"""Minutes of mixed load: memory, file descriptors and threads stay as they are.

In: a server with every published variant, and beside it one that leaks on purpose. Out: how much
each grew, and whether the same check finds the leak.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from load_tests.sampler import Sampler
from load_tests.server import Server, free_port, serving, started, wait_planned
from load_tests.soak.flat import Drift, drift
from load_tests.soak.mixed import Seen, mixed_load
from load_tests.soak.plan import Plan, Row, Say, figure

LEAKING = "load_tests.soak.leaking"
START_S = 180.0  # every variant is loaded
WARM_S = 5.0
SAMPLES = 300  # of a run, about


@dataclass(frozen=True)
class Watched:
    """What was asked, and how the process changed meanwhile."""

    seen: Seen
    drift: Drift
    peak_mb: float


def watch(server: Server, seconds: float, plan: Plan) -> Watched:
    """Mixed load for so long, and what became of the server."""
    with Sampler(server.pid, max(0.05, seconds / SAMPLES)) as sampler:
        seen = mixed_load(server.url, seconds, plan.rate, plan.seed)
    return Watched(seen, drift(sampler.samples), sampler.peak_mb)


def measure(plan: Plan, say: Say) -> Row:
    """The part of the soak."""
    control = _leaking(plan)
    say(f"the leaking server: {'; '.join(control.drift.faults()) or 'not found'}")
    with serving(plan.variants, env=plan.env, timeout_s=START_S) as server:
        wait_planned(server)
        mixed_load(server.url, WARM_S, plan.rate, plan.seed + 1)
        say(f"{plan.minutes:g} minutes of mixed load")
        service = watch(server, 60 * plan.minutes, plan)
        traces = server.log.read_text(errors="replace").count("Traceback")
    for fault in service.drift.faults():
        say(fault)
    return {
        "figures": [*figures(service, traces), *_control(control)],
        "refused": dict(service.seen.refused),
        "unexpected": dict(service.seen.unexpected),
    }


def _leaking(plan: Plan) -> Watched:
    port = free_port()
    command = [sys.executable, "-m", LEAKING, str(port)]
    with started(command, port, env={}, timeout_s=20) as server:
        return watch(server, plan.control_s, plan)


def figures(service: Watched, traces: int) -> list[Row]:
    """Of the service."""
    change, seen = service.drift, service.seen
    faults = change.faults()
    wrong = sum(seen.unexpected.values())
    return [
        figure("requests", seen.sent),
        figure("of them answered with 200", seen.answered),
        figure("broken off, left, too large or no request", seen.rude),
        figure("unexpected answers", wrong, target="0", reached=not wrong),
        figure("traces in the log", traces, target="0", reached=not traces),
        figure("PSS after the first fifth", change.pss_from_mb, "MB"),
        figure(
            "PSS growth from then on",
            change.pss_mb,
            "MB",
            target="<= 5 % or 30 MB",
            reached=not any("PSS" in fault for fault in faults),
        ),
        figure(
            "more file descriptors",
            change.fds,
            target="<= 10",
            reached=not any("descriptors" in fault for fault in faults),
        ),
        figure(
            "more threads",
            change.threads,
            target="<= 2",
            reached=not any("threads" in fault for fault in faults),
        ),
    ]


def _control(control: Watched) -> list[Row]:
    """Of the server that leaks memory, file descriptors and threads: all three must be found."""
    found = len(control.drift.faults())
    return [
        figure("PSS growth of the leaking server", control.drift.pss_mb, "MB"),
        figure(
            "leaks of it that the same check finds", found, "of 3", target="3", reached=found == 3
        ),
    ]
