"""Tiny variants in a model store of their own, and one server for the whole session."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from services.runtime import Runtime
from tests.services import tiny
from tests.services.server import Server, environment, serving

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # BentoML's own, at its import
    import bentoml._internal.bento
    import bentoml.models

STORED = [
    (model, variant)
    for model in tiny.JOBS
    for variant in (
        ("full", "full-int8") if model == "zeroshot" else ("full", "distilled", "distilled-int8")
    )
]


@dataclass
class Store:
    """home: BENTOML_HOME; folders: where each variant was written before it was stored."""

    home: Path
    lock: Path
    tags: list[str]
    folders: dict[str, Path]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root = tmp_path_factory.mktemp("variants")
    folders = {
        f"{model}/{variant}": tiny.write_variant(root / model / variant, model, variant)
        for model, variant in STORED
    }
    tags = [tiny.store(folder, root / "home") for folder in folders.values()]
    return Store(root / "home", tiny.write_lock(root / "variants.lock.json", tags), tags, folders)


@pytest.fixture(scope="session")
def runtimes(store: Store) -> dict[str, Runtime]:
    return {key: Runtime.load(folder) for key, folder in store.folders.items()}


@pytest.fixture(scope="session")
def server(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log.txt"
    env = environment(store.home, store.lock, TRANSFER_MAX_BODY_BYTES="200000")
    with serving(log, env) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as connected:
        yield connected


@pytest.fixture(scope="session")
def bento_client(server: Server) -> Iterator[bentoml.SyncHTTPClient]:
    with bentoml.SyncHTTPClient(server.url) as connected:
        yield connected
    connected._temp_dir.cleanup()  # close() leaves it to the garbage collector
