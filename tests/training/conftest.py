"""Tiny data sets for each kind, and checkpoints trained on them once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from services.windows import TextTokenizer
from tests import tiny_families
from tests.training import tiny_data
from training.finetune import finetune
from training.recipe import Recipe


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models gain nothing from more, and their sums come out the same everywhere."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bases(
    tiny_bert: Path, tiny_distilbert: Path, tiny_bart: Path, tiny_t5: Path
) -> dict[str, Path]:
    return {"bert": tiny_bert, "distilbert": tiny_distilbert, "bart": tiny_bart, "t5": tiny_t5}


@pytest.fixture(scope="session")
def families(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`bases` and an encoder or decoder of each other family, of 2 layers."""
    others = {
        "roberta": tiny_families.save_roberta,
        "deberta": tiny_families.save_deberta,
        "modernbert": tiny_families.save_modernbert,
        "gpt2": tiny_families.save_gpt2,
    }
    made = {name: save(tmp_path_factory.mktemp(f"tiny-{name}")) for name, save in others.items()}
    return {**bases, **made}


@pytest.fixture(scope="session")
def tokenizer(tiny_bert: Path) -> TextTokenizer:
    return TextTokenizer.load(tiny_bert / "tokenizer.json")


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write_all(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def make_recipe(data_folder: Path, bases: dict[str, Path]) -> Callable[..., Recipe]:
    """make_recipe("intent", "bert", max_steps=2): a job of `tiny_data.JOBS` on a tiny base."""

    def make(job: str, base: str = "bert", **changes: object) -> Recipe:
        return tiny_data.recipe_of(job, data_folder, bases[base], **changes)

    return make


@pytest.fixture(scope="session")
def teachers(
    make_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Path]:
    """teachers("intent", "bert"): a full checkpoint, trained when it is first asked for."""
    made: dict[tuple[str, str], Path] = {}

    def teacher(job: str, base: str = "bert") -> Path:
        if (job, base) not in made:
            out = tmp_path_factory.mktemp(f"{job}-{base}") / "full"
            made[job, base] = finetune(make_recipe(job, base), out, progress=False)
        return made[job, base]

    return teacher
