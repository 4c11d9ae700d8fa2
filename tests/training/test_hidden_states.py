"""A model that is its own teacher has nothing to learn from its hidden states, in every family."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from services.errors import UsageError
from services.tasks.classify import Classify, ClassifySettings
from services.windows import TextTokenizer
from tests.training.strategies.test_freezing import FAMILIES
from training import fit as module
from training.features import features
from training.hidden_states import HIDDEN, LastHidden
from training.models import load_model, training_options
from training.recipe import Recipe
from training.rows import LabelledText
from training.teacher import teacher_outputs
from training.tokenizers import pad_like

KIND = "sequence-classification"
LABELS = ["a", "b"]
TEXTS = ["the red lamp", "water", "a key on the front of the machine", "it does not start"]


@pytest.mark.parametrize(
    ("family", "pooling"), [*((family, "") for family in FAMILIES), ("distilbert", "mean")]
)
def test_the_distance_to_itself_is_0(
    family: str,
    pooling: str,
    families: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = families[family]
    plainly = {"name": "x", "kind": KIND, "batch_size": 4, "max_steps": 1, "evaluations": 1}
    recipe = Recipe(**plainly, pooling=pooling, dropout=0.0, hidden_weight=1.0)
    tokenizer = TextTokenizer.load(base / "tokenizer.json")
    task = Classify(tokenizer, ClassifySettings(labels=LABELS))
    windows = features(task, [LabelledText(text, ("a",)) for text in TEXTS])
    torch.manual_seed(1)
    teacher = pad_like(
        load_model(KIND, base, LABELS, **training_options(base, recipe)), tokenizer.pad_id
    )
    student = copy.deepcopy(teacher)
    taught = teacher_outputs(
        teacher, KIND, "id", windows, tokenizer.pad_id, tmp_path / "teacher", hidden=True
    )
    distances: list[float] = []
    plain = module.hidden_loss

    def watched(ours: Tensor, theirs: Tensor, batch: Any) -> Tensor:
        distances.append(plain(ours, theirs, batch).item())
        return plain(ours, theirs, batch)

    monkeypatch.setattr(module, "hidden_loss", watched)
    module.fit(
        student,
        windows,
        recipe,
        tmp_path,
        lambda model: ("accuracy", 0.0),
        tokenizer.pad_id,
        taught,
        progress=False,
    )
    assert distances == [pytest.approx(0.0, abs=1e-6)]  # the teacher's are kept as float16


def test_a_model_is_left_as_it_was(tiny_bert: Path) -> None:
    model = load_model(KIND, tiny_bert, LABELS)
    kept = LastHidden(model)
    model(input_ids=torch.tensor([[2, 7, 3]]))
    assert kept.parts[HIDDEN].shape == (1, 3, 32)
    kept.close()
    model(input_ids=torch.tensor([[2, 7, 3]]))
    assert kept.parts == {}


def test_a_head_that_is_one_with_its_encoder_is_refused(tiny_t5: Path) -> None:
    with pytest.raises(UsageError, match="T5ForQuestionAnswering has no encoder apart"):
        LastHidden(load_model("question-answering", tiny_t5))
