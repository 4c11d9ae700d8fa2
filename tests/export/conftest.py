"""Tiny bases by name, and a store of its own for every test that publishes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.export.models import write_mlm_base
from tests.export.store import bentoml_store


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """BENTOML_HOME of this test."""
    with bentoml_store(tmp_path / "home") as made:
        yield made


@pytest.fixture(scope="session")
def bases(
    tiny_bert: Path,
    tiny_distilbert: Path,
    tiny_bart: Path,
    tiny_t5: Path,
    tiny_pegasus: Path,
    tiny_grown: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Folders by family; "bert-mlm" has a language model head and no pooler."""
    return {
        "bert": tiny_bert,
        "bert-mlm": write_mlm_base(tmp_path_factory.mktemp("tiny-mlm"), tiny_bert),
        "distilbert": tiny_distilbert,
        "bart": tiny_bart,
        "t5": tiny_t5,
        "pegasus": tiny_pegasus,
        "grown": tiny_grown,
    }
