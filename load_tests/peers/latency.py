"""How much longer the slowest of a hundred requests waits when the server is half loaded.

In: the published variants of `intent`. Out: p99 at half of the saturated rate, requests due at a
constant rate and at random times, against the median of a client that is alone.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from load_tests.cpu import MAX_GENERATOR_CPU
from load_tests.modules import LoadError
from load_tests.peers import servers
from load_tests.peers.classify import TEXTS
from load_tests.peers.figures import at_most, figure
from load_tests.peers.plan import Plan
from load_tests.peers.rounds import interleaved, ratios
from load_tests.peers.variants import artifacts, variants
from load_tests.wrk import run_wrk

Row = dict[str, Any]
Say = Callable[[str], None]

TARGET = at_most(4.0, "x the single-request latency")
LOAD = 0.5
CONNECTIONS = 64
LEAST_ACHIEVED = 0.98
MOST_LATE = 0.25  # of the p99: above it the generator's own delay is a good part of what is seen
ARRIVALS = ("constant", "poisson")


def measure(plan: Plan, say: Say) -> Row:
    figures: list[Row] = []
    details: list[Row] = []
    published = variants([f"intent/{variant}" for variant in plan.variants])
    with servers.ours(plan.variants) as server:
        for words in plan.words:
            for variant in plan.variants:
                target = servers.our_target(server, variant, 1)
                detail = {"variant": variant, "words": words, **observe(plan, target, words, say)}
                figures += figures_of(detail)
                details.append(detail)
    return {"figures": figures, "details": details, "artifacts": artifacts(published.values())}


def observe(plan: Plan, target: servers.Target, words: int, say: Say) -> Row:
    """Saturated rate first, then rounds of one client alone and of half of that rate."""
    texts = TEXTS[words]()
    bodies = [target.body([text]) for text in texts]
    say(f"latency, {words} words: saturated, alone, at half of the rate")
    target.load(texts, plan.warm_up_s)
    saturated = target.load(texts, plan.seconds).rate

    def alone() -> Row:
        load = run_wrk(
            target.url, bodies, plan.seconds, server_pid=target.server.pid, connections=1
        )
        return {"p50": load.latency_ms["p50"], "failures": load.failures}

    def at_half(arrivals: str) -> Row:
        return open_loop(target.url, bodies, LOAD * saturated, plan, arrivals)

    phases: dict[str, Callable[[], Row]] = {"alone": alone}
    phases |= {name: (lambda name=name: at_half(name)) for name in ARRIVALS}
    seen = interleaved(phases, plan.rounds)
    return {"saturated_rate": saturated, "rate": LOAD * saturated, **seen}


def open_loop(url: str, bodies: list[Any], rate: float, plan: Plan, arrivals: str) -> Row:
    """One phase of `load_tests.open_loop` in a process of its own; valid: it kept its rate."""
    seen = servers.drive_module(
        url,
        bodies,
        seconds=plan.seconds,
        connections=CONNECTIONS,
        arrivals=arrivals,
        rate=rate,
        seed=plan.seed,
    )
    if not seen.pop("latencies_ms"):
        raise LoadError(
            f"{url} gave no good answer at {rate:,.0f} requests/s; faults: {seen['failures']}.",
            "Look at the server's log.",
        )
    kept = seen["achieved"] >= LEAST_ACHIEVED and seen["generator_cpu"] <= MAX_GENERATOR_CPU
    return {**seen, "valid": kept}


def figures_of(detail: Row) -> list[Row]:
    place = f"{detail['variant']}, {detail['words']} words"
    single = [one["p50"] for one in detail["alone"]]
    rows = [figure(f"single-request latency, {place}", single, "ms", how="p50, one connection")]
    for arrivals in ARRIVALS:
        phases = detail[arrivals]
        p99 = [phase["latency_ms"]["p99"] for phase in phases]
        late = median(phase["late_ms"]["p99"] for phase in phases)
        how = f"{detail['rate']:,.0f} requests/s due; sent late by {late:.2f} ms (p99)"
        if not all(phase["valid"] for phase in phases):
            how += "; INVALID: the rate was not kept"
        elif late > MOST_LATE * median(p99):
            how += "; UNSURE: the generator itself was late, for want of a core"
        name = f"p99 at half of the saturated rate, {arrivals} arrivals, {place}"
        target = TARGET if arrivals == "constant" else None
        rows.append(figure(name, p99, "ms", how=how))
        times = ratios(p99, single)
        rows.append(figure(f"{name}, to the single request", times, "x", target, how=how))
    return rows
