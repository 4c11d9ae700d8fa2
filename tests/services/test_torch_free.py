"""What ships runs where torch and its like cannot be imported, and unpickles nothing."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys

import numpy as np
import pytest

from tests.services.conftest import Store
from tests.services.server import ROOT, environment
from tests.unpickling import forbid_unpickling

PROGRAM = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())

from tests.unpickling import forbid_unpickling
unpickled = forbid_unpickling()

import importlib, pkgutil
import services
for module in pkgutil.walk_packages(services.__path__, "services."):
    importlib.import_module(module.name)

import asyncio
from services.app import Transfer
from services.schemas import ClassifyRequest, CompareRequest, QaRequest, SummarizeRequest

service = Transfer.inner()
import time
until = time.monotonic() + 60
while not service.engine.fleet.ready and time.monotonic() < until:
    time.sleep(0.05)

STORY = "My card. This is important."

async def main():
    answer = await service.classify(ClassifyRequest(text="send money"))
    print(answer["results"][0]["label"])
    answer = await service.qa(QaRequest(question="where", context="in paris"))
    print(answer["results"][0]["answer"])
    answer = await service.summarize(SummarizeRequest(text=STORY, max_sentences=1))
    print(answer["results"][0]["summary"])
    answer = await service.compare(CompareRequest(task="classify", input={{"text": "send"}}))
    print(answer["agreement"])

asyncio.run(main())
print(sorted(name for name in sys.modules if name.partition(".")[0] in {blocked!r}))
print(unpickled)
"""


def test_services_runs_without_torch_and_unpickles_nothing(store: Store) -> None:
    """Also the API methods called directly, which no HTTP of ours is in front of."""
    blocked = ("torch", "transformers", "optimum", "sentence_transformers", "peft", "datasets")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(blocked=set(blocked))],
        cwd=ROOT,
        env=environment(store.home, store.lock),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "transfer_money",
        "paris",
        "This is important.",
        "1.0",
        "[]",
        "[]",
    ]


def test_what_unpickles_is_noticed_wherever_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would hold for any service."""
    file = io.BytesIO()
    np.save(file, np.array([{"an": "object"}]), allow_pickle=True)
    file.seek(0)
    with monkeypatch.context() as patched:
        tried = forbid_unpickling(patched.setattr)
        for unpickle in (
            lambda: np.load(file, allow_pickle=True),
            lambda: pickle.loads(b""),
            lambda: pickle.Unpickler(file),
        ):
            with pytest.raises(BaseException, match="something is unpickled here"):
                unpickle()
    assert len(tried) == 3
