"""New variants in a running service: requests go on, and what is broken changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services import tiny
from tests.services.server import ROOT, Server, environment, serving


@dataclass
class Place:
    """A store of its own, a lock that changes, and the server that serves it."""

    home: Path
    lock: Path
    folders: Path
    env: dict[str, str]
    server: Server

    def publish(self, words: dict[str, tuple[float, ...]], name: str) -> str:
        """Another `intent/full`, stored and locked; its tag."""
        graph = tiny.classifier(words)
        folder = tiny.write_variant(self.folders / name, "intent", "full", graph)
        tag = tiny.store(folder, self.home)
        tiny.write_lock(self.lock, [tag])
        return tag

    def label(self, text: str = "balance") -> str:
        answer = httpx.post(f"{self.server.url}/classify", json={"text": text}, timeout=20)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["results"][0]["label"])

    def reload(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "transfer.py", "reload"]
        return subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True)


OLD = {"balance": (6.0, 0.0, 0.0)}
NEW = {"balance": (0.0, 6.0, 0.0)}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    home, lock = tmp_path / "home", tmp_path / "variants.lock.json"
    env = environment(home, lock, TRANSFER_PLANS=str(tmp_path / "plans.json"))
    made = Place(home, lock, tmp_path / "variants", env, None)  # type: ignore[arg-type]
    made.publish(OLD, "old")
    with serving(tmp_path / "log.txt", env) as server:
        server.wait_until_ready()
        made.server = server
        yield made


def wait(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_new_variant_is_served_without_a_request_lost(place: Place) -> None:
    assert place.label() == "transfer_money"
    faults: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=place.server.url, timeout=20) as client:
            while not stop.is_set():
                answer = client.post("/classify", json={"text": "balance"})
                if answer.status_code != 200:
                    faults.append(answer.text)

    asking = threading.Thread(target=ask)
    asking.start()
    tag = place.publish(NEW, "new")
    done = place.reload()
    assert done.returncode == 0, done.stderr
    wait(lambda: place.label() == "freeze_card")
    stop.set()
    asking.join()
    assert faults == []
    [entry] = httpx.get(f"{place.server.url}/models").json()["models"]
    assert entry["loaded"]
    info = [
        line
        for line in httpx.get(f"{place.server.url}/metrics").text.splitlines()
        if line.startswith("transfer_model_info{")
    ]
    assert len(info) == 1 and entry["sha256"] in info[0]
    assert tag.split(":")[0] == "intent-full"


def test_what_is_broken_changes_nothing_and_is_told_in_one_line(place: Place) -> None:
    tag = place.publish(NEW, "new")
    name, version = tag.split(":")
    graph = place.home / "models" / name / version / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    assert place.reload().returncode == 0
    wait(lambda: "nothing was reloaded" in place.server.output())
    assert "model.onnx has sha256" in place.server.output()
    assert "Traceback" not in place.server.output()
    assert place.label() == "transfer_money"
    assert httpx.get(f"{place.server.url}/readyz").status_code == 200


def test_without_a_service_there_is_nobody_to_tell(tmp_path: Path) -> None:
    home, lock = tmp_path / "home", tmp_path / "variants.lock.json"
    env = environment(home, lock, TRANSFER_PLANS=str(tmp_path / "plans.json"))
    marks = tmp_path / "transfer-running"
    marks.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (marks / str(gone.pid)).write_text(str(lock))  # was killed, and left its file
    (marks / str(os.getpid())).write_text("/another/lock")  # serves something else
    command = [sys.executable, "transfer.py", "reload"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "No service runs from" in done.stderr
    assert [mark.name for mark in marks.iterdir()] == [str(os.getpid())]
    shutil.rmtree(marks)
