"""One pod as a process: its volumes, its init container, its probes, its restarts, how it ends.

In: a `PodSpec`. Out: a process that listens on a port of its own. What a machine without containers
cannot give is replaced, and nothing else: paths of mounts by folders, the image's entrypoint by
this checkout, the address and the ports (pods have addresses of their own) by free ones, a Secret
by a made-up one. A Bento's models are those of this checkout's store.

As in the image, BentoML ends when its worker does, and the container is started again, as the
kubelet does it: at once when it had served, and later and later while it ends before it is ready.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from load_tests.memory import tree_pss_mb
from load_tests.rehearsal.manifests import Container, PodSpec, Probe
from load_tests.server import ROOT, ServerError, free_port, tail
from services.settings import LOCK_NAME

SERVICE = "services.app:Transfer"
STORE = "/var/lib/bentoml"
KEYS = "keys"
# What k8s/images/slim.Containerfile sets and the server looks at.
IMAGE = {"BENTOML_CONTAINERIZED": "true"}
BACKOFF_S, LONGEST_BACKOFF_S = 10.0, 300.0
REFERENCE = re.compile(r"\$?\$\(([\w.-]+)\)")
# Inside of the pod; it is never opened here.
CONTAINER_TMP = "/tmp"  # nosec B108


@dataclass(frozen=True)
class Place:
    """Where the pods of a rehearsal find what a cluster would give them.

    store: BENTOML_HOME of the models; lock: which they are; key: what the Secret lets in
    """

    store: Path
    lock: Path
    key: str


@dataclass
class Pod:
    """`ready` is what Kubernetes would say; `changed` is called when that changes."""

    name: str
    spec: PodSpec
    place: Place
    folder: Path
    changed: Callable[[], None] = lambda: None
    ready: bool = False
    ending: bool = False
    exit_code: int | None = None
    killed: bool = False
    liveness_failures: int = 0
    restarts: int = 0
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def started(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Prepare the volumes, run the init container, start the server; probes follow."""
        volumes(self.spec, self.place, self.folder)
        if self.spec.init:
            done = self._run(self.spec.init).wait()
            if done:
                raise ServerError(
                    f"The init container of {self.name} ended with {done}:\n{tail(self.log)}",
                    "Its last lines say why.",
                )
        self._process = self._run(self.spec.container)
        threading.Thread(target=self._keep, daemon=True).start()

    def _keep(self) -> None:
        """Probe the container, and start it again whenever it ends by itself."""
        crashes = 0
        while not self.ending:
            assert self._process is not None
            served = self._probe(self._process)
            self._set(False)
            crashes = 0 if served else crashes + 1
            if self._over.wait(backoff_s(crashes)) or self.ending:
                return
            self.restarts += 1
            self._process = self._run(self.spec.container)
            if self.ending:  # since it was asked
                self.end_at_once()

    def _run(self, container: Container) -> subprocess.Popen[bytes]:
        command = localized(container, self.folder, self.port)
        env = environment(container, self.folder, self.name)
        env = {
            **_outside(),
            **IMAGE,
            "TRANSFER_LOCK": str(self.place.lock),
            **env,
            "PYTHONPATH": str(ROOT),
        }
        with self.log.open("ab") as output:
            return subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)

    def wait_ready(self) -> None:
        """As long as the startup probe allows; raises ServerError with the pod's last lines.

        One that ends before it is ready is not waited for: no rollout gets past it.
        """
        startup = self.spec.startup
        until = time.monotonic() + startup.period_s * (startup.failures + 1)
        while not self.ready:
            ended = self._process is not None and self._process.poll() is not None
            if ended or self.restarts or time.monotonic() > until:
                raise ServerError(f"{self.name} was not ready:\n{tail(self.log)}", "See above.")
            time.sleep(0.05)

    def stop(self) -> None:
        """preStop, SIGTERM, and SIGKILL when the grace period is over."""
        self._end()
        began = time.monotonic()
        time.sleep(self.spec.pre_stop_s)
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(max(0.0, began + self.spec.grace_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.killed = True
            self.end_at_once()
        self.exit_code = self._process.returncode

    def end_at_once(self) -> None:
        """SIGKILL to all of it."""
        self._end()
        if self._process is None:
            return
        for process in self._workers():
            process.kill()
        self._process.kill()
        self._process.wait()

    def _end(self) -> None:
        """From now on nothing is probed or started again."""
        self.ending = True
        self._over.set()

    def kill_worker(self) -> int:
        """SIGKILL to the process that answers, as the kernel does it when memory is out."""
        (worker,) = self._workers()
        worker.kill()
        return int(worker.pid)

    def is_back(self, killed: int) -> bool:
        """Whether another worker than the one that was killed is ready, and the pod is too."""
        pids = [worker.pid for worker in self._workers()]
        again = bool(pids) and killed not in pids
        return again and self.ready and self._asked(self.spec.readiness)

    def _workers(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def pss_mb(self) -> float:
        return tree_pss_mb(self.pid)

    def _probe(self, process: subprocess.Popen[bytes]) -> bool:
        """Until the container ends or the pod shall; whether it has been ready.

        Startup until it holds once; then readiness and liveness, each in its period.
        """
        startup, readiness, liveness = self.spec.startup, self.spec.readiness, self.spec.liveness
        while not self._asked(startup):
            if self._ends_within(process, startup.period_s):
                return False
        self._set(True)
        failed, next_live = 0, time.monotonic() + liveness.period_s
        while not self._ends_within(process, readiness.period_s):
            failed = 0 if self._asked(readiness) else failed + 1
            self._set(failed < readiness.failures)
            if time.monotonic() >= next_live:
                next_live += liveness.period_s
                failing = not self._asked(liveness) and process.poll() is None
                self.liveness_failures += failing and not self.ending
        return True

    def _ends_within(self, process: subprocess.Popen[bytes], seconds: float) -> bool:
        """Whether the container ends, or the pod shall, before so many seconds are over."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return self.ending or process.returncode is not None

    def _asked(self, probe: Probe) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}{probe.path}"
            with urllib.request.urlopen(url, timeout=probe.timeout_s) as answer:
                return bool(200 <= answer.status < 400)
        except (urllib.error.URLError, OSError):
            return False

    def _set(self, ready: bool) -> None:
        if ready != self.ready and not self.ending:
            self.ready = ready
            self.changed()


def backoff_s(crashes: int) -> float:
    """How long the kubelet waits before it starts a container that ended so often unserved.

    It also waits after a container that has served for less than ten minutes. Kills of a rehearsal
    stand for those of hours, so whatever was ready starts anew.
    """
    if crashes < 2:
        return 0.0
    return float(min(BACKOFF_S * 2 ** (crashes - 2), LONGEST_BACKOFF_S))


def volumes(spec: PodSpec, place: Place, folder: Path) -> None:
    """Folders for what is mounted, and in them what the image or the cluster would have."""
    containers = [spec.container, *([spec.init] if spec.init else [])]
    for container in containers:
        for volume, _ in container.mounts.values():
            (folder / volume).mkdir(parents=True, exist_ok=True)
    for volume in spec.secrets:
        (folder / volume / KEYS).write_text(f"rehearsal:{place.key}\n", encoding="utf-8")
    home = folder / spec.container.mounts[STORE][0]
    nested = spec.container.mounts.get(f"{STORE}/models")
    target = folder / nested[0] / nested[1] if nested else place.store / "models"
    (home / "models").symlink_to(target)
    if spec.init:  # what the models image holds
        (folder / "image").mkdir()
        (folder / "image" / "models").symlink_to(place.store / "models")
        shutil.copy(place.lock, folder / "image" / LOCK_NAME)


def _outside() -> dict[str, str]:
    """Our own environment without what the manifest alone shall say."""
    ours = ("TRANSFER_", "BENTOML_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def environment(container: Container, folder: Path, pod: str) -> dict[str, str]:
    """The container's variables, with paths of this machine and a port for the metrics.

    pod: its name, for $(metadata.name)
    """
    values = expanded(container.env, {"metadata.name": pod})
    env = {name: _path(value, container, folder) for name, value in values.items()}
    if env.get("TRANSFER_METRICS", "").isdigit():
        env["TRANSFER_METRICS"] = str(free_port())
    if CONTAINER_TMP in container.mounts:
        env["TMPDIR"] = _path(CONTAINER_TMP, container, folder)
    return env


def expanded(env: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Variables with what $(NAME) stands for, as the kubelet puts it in.

    What is defined later, or nowhere, stays as it is written, and $$(NAME) is a literal $(NAME).
    """
    found: dict[str, str] = {}

    def put(match: re.Match[str]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        return {**known, **found}.get(match[1], match[0])

    for name, value in env.items():
        found[name] = REFERENCE.sub(put, value)
    return found


def localized(container: Container, folder: Path, port: int) -> list[str]:
    """The command line, for this machine."""
    words = [*container.command, *container.args]
    if words[0] == "serve":  # the entrypoint of a Bento's image adds the rest
        words = ["bentoml", "serve", SERVICE, *words[1:]]
    if "--port" in words:
        words[words.index("--port") + 1] = str(port)
        words[words.index("--host") + 1] = "127.0.0.1"
    first, *rest = (_path(word, container, folder) for word in words)
    # Ours are not paths of the container, though this checkout may lie below one, such as /tmp.
    starts = {"bentoml": [sys.executable, "-m", "bentoml"], "python": [sys.executable]}
    return [*starts.get(first, [first]), *rest]


def _path(text: str, container: Container, folder: Path) -> str:
    """A path inside of a mount, on this machine; `/models` is what the models image brings."""
    for mount in sorted(container.mounts, key=len, reverse=True):
        if text == mount or text.startswith(f"{mount}/"):
            volume, inside = container.mounts[mount]
            return str(folder / volume / inside / text[len(mount) :].lstrip("/"))
    return str(folder / "image") if text == "/models" else text
