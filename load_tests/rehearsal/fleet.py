"""A Deployment acted out: its pods, the list of those that get requests, and rolling updates.

In: a `Deployment` and an `Envoy`. As in a cluster, a pod gets requests when it is ready, and is
taken out of the list when somebody wants it to end; the list reaches the proxy `lag_s` later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from load_tests.rehearsal.envoy import Envoy
from load_tests.rehearsal.manifests import Deployment
from load_tests.rehearsal.pod import Place, Pod

LAG_S = 1.0
EVERY_S = 0.1


class Fleet:
    """`pods` are those that shall be; ending ones leave it at once."""

    def __init__(
        self, deployment: Deployment, envoy: Envoy, place: Place, folder: Path, lag_s: float = LAG_S
    ) -> None:
        self.deployment, self.envoy, self.place = deployment, envoy, place
        self.folder, self.lag_s = folder, lag_s
        self.pods: list[Pod] = []
        self.ended: list[Pod] = []
        self.peak_pss_mb = 0.0
        self._count = 0
        self._endings: list[threading.Thread] = []
        self._news: list[threading.Timer] = []
        self._lock = threading.Lock()

    def scale(self, replicas: int) -> None:
        """Start or end pods until there are so many, and wait until all are ready."""
        for pod in self.pods[replicas:]:
            self._end(pod)
        added = [self._add() for _ in range(replicas - len(self.pods))]
        for pod in added:
            pod.wait_ready()

    def update(self) -> None:
        """Replace every pod, so many at a time as the manifest says."""
        old = list(self.pods)
        while old:
            room = max(1, self.deployment.max_surge)
            batch, old = old[:room], old[room:]
            fresh = [self._add() for _ in batch]
            for pod in fresh:
                pod.wait_ready()
            for pod in batch:
                self._end(pod)

    def wait_ended(self) -> None:
        """Until the pods that were wished to end have ended."""
        for thread in self._endings:
            thread.join()
        self._endings.clear()
        while self._news:
            self._news.pop().join()

    def stop(self) -> None:
        """End what is left, at once."""
        for pod in self.pods:
            pod.end_at_once()
        self.wait_ended()
        self.pods.clear()

    def exits(self) -> dict[str, Any]:
        """How the pods ended that were wished to."""
        return {
            "ended": len(self.ended),
            "exit_codes": sorted({str(pod.exit_code) for pod in self.ended}),
            "killed_after_grace": sum(pod.killed for pod in self.ended),
            "liveness_failures": sum(pod.liveness_failures for pod in (*self.pods, *self.ended)),
            "restarts": self.restarts,
        }

    @property
    def restarts(self) -> int:
        """How often a container was started again."""
        return sum(pod.restarts for pod in (*self.pods, *self.ended))

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Keep the highest PSS of a pod, as long as the block runs."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(EVERY_S):
                for pod in list(self.pods):
                    if pod.started:
                        self.peak_pss_mb = max(self.peak_pss_mb, pod.pss_mb())

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _add(self) -> Pod:
        self._count += 1
        name = f"{self.deployment.name}-{self._count}"
        folder = self.folder / name
        folder.mkdir(parents=True)
        pod = Pod(name, self.deployment.pod, self.place, folder, self._tell)
        self.pods.append(pod)
        pod.start()
        return pod

    def _end(self, pod: Pod) -> None:
        self.pods.remove(pod)
        pod.ending = True
        self.ended.append(pod)
        self._tell()
        thread = threading.Thread(target=pod.stop)
        thread.start()
        self._endings.append(thread)

    def _tell(self) -> None:
        """The proxy hears of what has changed, a little later, as of everything in a cluster."""
        timer = threading.Timer(self.lag_s, self._publish)
        timer.start()
        self._news.append(timer)

    def _publish(self) -> None:
        with self._lock:
            ports = [pod.port for pod in self.pods if pod.ready]
            self.envoy.point(self.deployment.service, ports)

    def wait_listed(self, timeout_s: float = 30.0) -> None:
        """Until the proxy sends to every pod."""
        until = time.monotonic() + timeout_s
        while self.envoy.healthy(self.deployment.service) != len(self.pods):
            if time.monotonic() > until:
                raise TimeoutError(f"{self.deployment.service} is not whole in the proxy")
            time.sleep(0.05)
