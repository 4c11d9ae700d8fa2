"""Bytes that are no request, thousands of them: nothing breaks, nobody else is kept waiting.

In: a server's address and a number of cases. Out: what was answered, and every fault: a 5xx, a path
or a trace in an answer, an answer to a request that was hidden in another, a healthy client that
was not answered.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from load_tests.server import Server, serving
from load_tests.soak.cases import Case, cases
from load_tests.soak.plan import Plan, Row, Say, figure
from load_tests.soak.wire import (
    LEAK,
    ask,
    connect,
    page,
    read_some,
    reset,
    statuses,
    wait_until_idle,
)

WORKERS = 8
BETWEEN = 50  # cases, then a healthy request
FIRST_S, NEXT_S = 0.1, 0.02
_ANSWERED = re.compile(r'^transfer_requests_total\{.*status="5\d\d".*\} ([\d.e+]+)', re.MULTILINE)


@dataclass
class Seen:
    """answered: statuses, and 0 where nothing came; faults: in words, the first of each case"""

    cases: int = 0
    answered: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    healthy: int = 0
    unhealthy: int = 0


def bombard(url: str, count: int, seed: int, *, workers: int = WORKERS) -> Seen:
    """Send `count` cases, a healthy request after every 50 of them."""
    seen = Seen()
    source = cases(seed)
    with ThreadPoolExecutor(workers) as pool:
        while seen.cases < count:
            batch = list(islice(source, min(BETWEEN, count - seen.cases)))
            for case, answer in zip(
                batch, pool.map(lambda one: _send(url, one), batch), strict=True
            ):
                _judge(case, answer, seen)
            status = _healthy(url)
            seen.healthy += status == 200
            seen.unhealthy += status != 200
    return seen


def _send(url: str, case: Case) -> bytes:
    made = connect(url)
    with contextlib.suppress(OSError):
        made.sendall(case.data)
    answer = read_some(made, FIRST_S, NEXT_S)
    if len(case.data) % 2:
        reset(made)
    made.close()
    return answer


def _judge(case: Case, answer: bytes, seen: Seen) -> None:
    seen.cases += 1
    seen.kinds[case.kind] += 1
    found = statuses(answer)
    seen.answered.update(found or [0])
    text = answer.decode("latin-1")
    shown = f"{case.kind}: {case.data[:200]!r} -> {answer[:300]!r}"
    if any(status >= 500 for status in found):
        seen.faults.append(f"5xx for {shown}")
    elif leak := LEAK.search(_own_words(text, case)):
        seen.faults.append(f"{leak.group()} shown for {shown}")
    elif "nothing at /hidden" in text:
        seen.faults.append(f"a hidden request was answered for {shown}")


def _own_words(answer: str, case: Case) -> str:
    """The answer without the address that the client itself sent."""
    target = case.data.split(b"\r\n")[0].decode("latin-1").split(" ")
    for word in target:
        answer = answer.replace(word, "") if len(word) > 3 else answer
    return answer


def _healthy(url: str) -> int:
    try:
        return ask(url)[0]
    except OSError:
        return 0


def failed_inside(url: str) -> float:
    """Requests that the service itself counts as 5xx."""
    return sum(float(count) for count in _ANSWERED.findall(page(url, "/metrics")))


def measure(plan: Plan, say: Say) -> Row:
    """The part of the soak."""
    with serving(plan.variants or ("intent",), env=plan.env) as server:
        seen = bombard(server.url, plan.cases, plan.seed)
        left = wait_until_idle(server.url)
        return {"figures": figures(server, seen, left), **_raw(seen, say)}


def figures(server: Server, seen: Seen, left: dict[str, float]) -> list[Row]:
    traces = server.log.read_text(errors="replace").count("Traceback")
    ready = bool(page(server.url, "/readyz"))
    inside = failed_inside(server.url)
    return [
        figure("raw cases", seen.cases),
        figure("faults", len(seen.faults), target="0", reached=not seen.faults),
        figure("5xx as the service counts", inside, target="0", reached=inside == 0),
        figure("traces in the log", traces, target="0", reached=traces == 0),
        figure(
            "healthy requests between them that failed",
            seen.unhealthy,
            f"of {seen.unhealthy + seen.healthy}",
            target="0",
            reached=seen.unhealthy == 0,
        ),
        figure("ready after them", int(ready), target="1", reached=ready),
        figure("left in flight or queued", sum(left.values()), target="0", reached=_idle(left)),
    ]


def _idle(left: dict[str, float]) -> bool:
    return bool(left) and not any(left.values())


def _raw(seen: Seen, say: Say) -> Row:
    for fault in seen.faults[:10]:
        say(fault)
    answered = {str(status or "none"): count for status, count in sorted(seen.answered.items())}
    return {"answered": answered, "kinds": dict(seen.kinds), "faults": seen.faults[:20]}
