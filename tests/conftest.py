"""What all tests share: no hub, a BentoML store of their own, and tiny real bases to train."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.services.writers import TinyWriter

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "BENTOML_DO_NOT_TRACK": "True",
}
LOCK = "TRANSFER_TESTS_LOCK"  # a file; processes beside each other have it from the first one
HOME = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported: libraries read their environment at import."""
    home = tempfile.mkdtemp(prefix="bentoml-")
    config.stash[HOME] = home
    os.environ.update({**OFFLINE, "BENTOML_HOME": home})
    # Models are tiny: threads would wait for each other longer than they work.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault(LOCK, f"{home}/lock")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[HOME], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Of pytest's processes beside each other only one works while a test is marked `alone`."""
    with open(os.environ[LOCK], "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        return (yield)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of 4 layers, 32 wide, as `training.bases.resolve` finds it in a folder."""
    from tests import tiny_bases

    return tiny_bases.save_bert(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="session")
def tiny_distilbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests import tiny_bases

    return tiny_bases.save_distilbert(tmp_path_factory.mktemp("tiny-distilbert"))


@pytest.fixture(scope="session")
def tiny_bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 encoder layers, 4 decoder layers."""
    from tests import tiny_bases

    return tiny_bases.save_bart(tmp_path_factory.mktemp("tiny-bart"))


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 encoder layers, 4 decoder layers."""
    from tests import tiny_bases

    return tiny_bases.save_t5(tmp_path_factory.mktemp("tiny-t5"))


@pytest.fixture(scope="session")
def tiny_pegasus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 encoder layers, 4 decoder layers."""
    from tests import tiny_bases

    return tiny_bases.save_pegasus(tmp_path_factory.mktemp("tiny-pegasus"))


@pytest.fixture(scope="session")
def tiny_grown(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BART of 4 encoder and 2 decoder layers, grown from `tiny_bert`."""
    from tests import tiny_bases

    return tiny_bases.save_grown(tiny_bert, tmp_path_factory.mktemp("tiny-grown"))


@pytest.fixture(scope="session")
def writers(
    tiny_bart: Path,
    tiny_t5: Path,
    tiny_pegasus: Path,
    tiny_grown: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, TinyWriter]:
    """Encoder-decoders by family; "grown" is a BART with a BERT's words."""
    from tests.services.writers import make_writer

    bases = {"bart": tiny_bart, "t5": tiny_t5, "pegasus": tiny_pegasus, "grown": tiny_grown}
    return {
        family: make_writer(base, tmp_path_factory.mktemp(f"{family}-graphs"))
        for family, base in bases.items()
    }
