"""Who may ask, how much, and what is kept of it: keys, quotas, other origins, the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from services.access import KeyRing
from services.quota import Quota
from services.requestlog import MOST_TEXT, RequestLog
from services.settings import Settings
from services.stages import stages_ms

ASKED_WITH = "Authorization, Content-Type, X-Api-Key, X-Request-Id, X-Request-Timeout-Ms"
SPENT = (499, 504)  # the work was done, or a good part of it, though nobody has the answer


@dataclass(slots=True)
class Visit:
    """One request on its way.

    traceparent: of the caller's own span, as W3C Trace Context has it
    trace: the id of the trace that it is part of, where it is traced
    key: the name of the API key that it came with
    taken: tokens that it was estimated to cost
    text: the beginning of its body, where that is to be logged
    model, variant: which was picked to answer it, whatever came of that
    """

    request_id: str
    method: str
    route: str
    began: float
    traceparent: str = ""
    trace: str = ""
    key: str = ""
    taken: int = 0
    text: str = ""
    model: str = ""
    variant: str = ""

    def picked(self, model: str, variant: str) -> None:
        self.model, self.variant = model, variant

    @property
    def seconds(self) -> float:
        return perf_counter() - self.began


class Gate:
    """Raises UsageError for settings that cannot be."""

    def __init__(self, settings: Settings) -> None:
        self.keys = KeyRing(settings.api_keys, settings.api_keys_file)
        self.quota = Quota(settings.tokens_per_minute)
        self.log = RequestLog()
        self._logs = settings.log_requests
        self._origins = settings.cors_origins

    def admit(self, visit: Visit, body: bytes, estimate: Callable[[int], int]) -> None:
        """Take what a request may cost; raises QuotaError.

        estimate: characters -> tokens
        """
        if self.quota.tokens_per_minute:
            tokens = estimate(len(body))
            self.quota.take(visit.key, tokens)
            visit.taken = tokens
        if self._logs == "text":
            visit.text = body[:MOST_TEXT].decode("utf-8", "replace")

    def leave(self, visit: Visit, status: int, answer: Any) -> None:
        """Settle what the request has cost, and log it."""
        done = answer.done if answer else []
        tokens = sum(one.tokens for one in done)
        if visit.taken:
            used = visit.taken if status in SPENT else tokens
            self.quota.settle(visit.key, visit.taken, used)
        if self._logs == "off":
            return
        entry: dict[str, Any] = {"id": visit.request_id, "route": visit.route, "status": status}
        if visit.trace:
            entry["trace"] = visit.trace
        if visit.key:
            entry["key"] = visit.key
        if visit.model:
            entry |= {"model": visit.model, "variant": visit.variant}
        milliseconds = {"total": round(1000 * visit.seconds, 2)}
        if answer:
            windows = sum(one.windows for one in done)
            entry |= {"items": len(done), "tokens": tokens, "windows": windows}
            milliseconds |= {name: round(spent, 2) for name, spent in stages_ms(done).items()}
        if visit.text:
            entry["body"] = visit.text
        self.log.add(entry | {"ms": milliseconds})

    def cors(self, origin: str) -> tuple[tuple[str, str], ...]:
        """Headers that let a page of this origin read the answer; none unless it may."""
        if "*" in self._origins:
            allowed = "*"
        elif origin in self._origins:
            allowed = origin
        else:
            return ()
        return (
            ("Access-Control-Allow-Origin", allowed),
            ("Access-Control-Expose-Headers", "X-Request-Id, Server-Timing, Retry-After"),
            ("Vary", "Origin"),
        )

    def preflight(self, origin: str, methods: str) -> tuple[tuple[str, str], ...]:
        """Beside `cors`, what a browser asks before it sends such a request."""
        if not self.cors(origin):
            return ()
        return (
            ("Access-Control-Allow-Methods", methods),
            ("Access-Control-Allow-Headers", ASKED_WITH),
            ("Access-Control-Max-Age", "600"),
        )
