"""When a client asks again: an error in, the seconds to wait out, or the error again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from services.client_wire import UNREACHABLE, ServiceError

PASSING = frozenset({429, 502, 503})  # 502: a proxy in front of a service that restarts


@dataclass(frozen=True, slots=True)
class Retries:
    """After 429, 502, 503, and when the connection fails; the service keeps nothing, so every
    request can be repeated.

    most: tries after the first; 0 never asks again
    patience_s: waits add up to at most so many seconds; a longer Retry-After is not waited for
    first_wait_s: where the service names no time; doubled every time, and shortened by chance so
        that clients refused together do not come back together
    """

    most: int = 4
    patience_s: float = 60.0
    first_wait_s: float = 0.25


class Waits:
    """The waits of one request."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._count = 0
        self._waited_s = 0.0

    def after(self, error: ServiceError) -> float:
        """Seconds to wait; raises the error when it is not worth it."""
        wait_s = error.retry_after_s
        if wait_s is None:
            wait_s = self._retries.first_wait_s * 2**self._count * random.uniform(0.5, 1.0)
        passing = error.status in PASSING or error.code == UNREACHABLE
        patient = self._waited_s + wait_s <= self._retries.patience_s
        if not passing or not patient or self._count >= self._retries.most:
            raise error
        self._count += 1
        self._waited_s += wait_s
        return wait_s
