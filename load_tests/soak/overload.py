"""Ten times what the service can do: it does what it can, and refuses the rest at once.

In: one model's long texts. Out: the saturated rate (a closed loop), and from an open loop at ten
times that rate what was answered, how fast the rest was refused, whether the service said all the
while that it lives, and when a lone client is answered as before again.
"""

from __future__ import annotations

import json
import math
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from load_tests.arrivals import POISSON
from load_tests.mixes import LONG, bodies_of
from load_tests.open_loop import CLOSED, drive
from load_tests.percentiles import percentiles
from load_tests.server import serving, wait_planned
from load_tests.soak.plan import Plan, Row, Say, figure
from load_tests.soak.wire import address_of, ask

# What costs most a request, so that the generator's share of the same cores is smallest.
TASK, MODEL, VARIANT = "summarize", "highlights", "highlights/full"
DIFFERENT = 2000  # more than are ever in flight
SATURATING = 16  # connections of the closed loop
CONNECTIONS = 600  # of the open one: more than are ever on their way
MOST_MS, LEAST_SHARE, NORMAL_S = 50.0, 0.9, 5.0
SLOWER = 2.0  # a lone client is answered as before: at most so many times what it took
PROBES, EVERY_S = 20, 0.1
PROBE_EVERY_S, LIVES_S = 1.0, 5.0  # as k8s/base/deployment.yaml gives a liveness probe


def measure(plan: Plan, say: Say) -> Row:
    """The part of the soak."""
    bodies = different(bodies_of(TASK, MODEL, LONG, seed=plan.seed), DIFFERENT)
    with serving(plan.variants or (VARIANT,), env=plan.env) as server:
        wait_planned(server)
        alone = [_alone(server.url, bodies[n % len(bodies)]) for n in range(PROBES)]
        peak = _drive(server.url, bodies, plan.peak_s, arrivals=CLOSED, connections=SATURATING)
        rate = len(peak["latencies_ms"]) / peak["seconds"]
        say(f"saturated at {rate:.1f} requests/s; now {plan.times * rate:.0f}/s")
        with probed(server.url) as probes:
            seen = _drive(
                server.url,
                bodies,
                plan.seconds,
                arrivals=POISSON,
                rate=plan.times * rate,
                connections=CONNECTIONS,
                seed=plan.seed,
            )
        drained_s = max(0.0, seen["seconds"] - plan.seconds)  # it waits for what is on its way
        normal_s = drained_s + _until_normal(server.url, bodies, SLOWER * statistics.median(alone))
    lives = liveness(probes)
    return {"figures": [*figures(plan, rate, seen, normal_s), *lives], "saturated_per_s": rate}


def different(bodies: Sequence[Any], count: int) -> list[Any]:
    """So many bodies of which no two are equal: the service computes equal texts in flight once."""
    made = [bodies[number % len(bodies)] for number in range(count)]
    return [
        {**body, "text": f"Report {number}. {body['text']}"} for number, body in enumerate(made)
    ]


def _drive(url: str, bodies: Sequence[Any], seconds: float, **how: Any) -> dict[str, Any]:
    host, port = address_of(url)
    plan = {"host": host, "port": port, "path": f"/{TASK}", "bodies": list(bodies)}
    return drive({"rate": 0.0, "seed": 0, **plan, "seconds": seconds, **how})


def _alone(url: str, body: Any) -> float:
    """Seconds to an answer; a refusal is none, however fast it comes."""
    status, seconds = ask(url, json.dumps(body).encode(), f"/{TASK}")
    return seconds if status == 200 else math.inf


@contextmanager
def probed(url: str) -> Iterator[list[tuple[int, float]]]:
    """(status, seconds) of a liveness probe every second, on a connection of its own."""
    found: list[tuple[int, float]] = []
    ended = threading.Event()

    def probe() -> None:
        while not ended.wait(PROBE_EVERY_S):
            began = time.perf_counter()
            try:
                with urllib.request.urlopen(f"{url}/livez", timeout=LIVES_S) as answer:
                    status = answer.status
            except OSError:
                status = 0
            found.append((status, time.perf_counter() - began))

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def liveness(probes: Sequence[tuple[int, float]]) -> list[Row]:
    """Liveness must not depend on load: a restart under load makes it worse."""
    dead = sum(status != 200 for status, _ in probes)
    slowest = 1000 * max((seconds for _, seconds in probes), default=0.0)
    return [
        figure(
            "/livez other than 200",
            dead,
            f"of {len(probes)}",
            target="0",
            reached=not dead and bool(probes),
        ),
        figure("slowest /livez", slowest, "ms"),
    ]


def _until_normal(url: str, bodies: Sequence[Any], normal_s: float) -> float:
    """Seconds until three requests in a row take no longer than `normal_s`."""
    began, good, number = time.perf_counter(), 0, 0
    while good < 3 and time.perf_counter() - began < 60:
        good = good + 1 if _alone(url, bodies[number % len(bodies)]) <= normal_s else 0
        number += 1
        time.sleep(EVERY_S)
    return time.perf_counter() - began


def figures(plan: Plan, rate: float, seen: dict[str, Any], normal_s: float) -> list[Row]:
    """What was seen, against what it should be."""
    answered, refused = len(seen["latencies_ms"]), len(seen["refused_ms"])
    others = {what: n for what, n in seen["failures"].items() if what != "status 429"}
    # Answers that came after the last request was due belong to what was queued until then.
    goodput = answered / max(seen["seconds"], plan.seconds)
    share = goodput / rate
    refusal = percentiles(seen["refused_ms"])["p99"] if refused else 0.0
    late = seen["late_ms"].get("p99", 0.0)
    bare = seen["without_retry_after"]
    return [
        figure("saturated rate", rate, "requests/s"),
        figure("offered", seen["due"] / plan.seconds, "requests/s"),
        figure("answered with 200", answered),
        figure("refused with 429", refused),
        figure(
            "anything else",
            sum(others.values()),
            ", ".join(others),
            target="0",
            reached=not others and refused > 0,
        ),
        figure("429 without Retry-After", bare, target="0", reached=bare == 0),
        figure("p99 of a refusal", refusal, "ms", target="< 50 ms", reached=refusal < MOST_MS),
        figure(
            "goodput over the saturated rate", share, target=">= 0.9", reached=share >= LEAST_SHARE
        ),
        figure("back to normal after", normal_s, "s", target="< 5 s", reached=normal_s < NORMAL_S),
        figure("p99 of the generator's delay", late, "ms"),
        figure("processor time of the generator", seen["generator_cpu"], "cores"),
    ]
