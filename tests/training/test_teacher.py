"""A teacher's outputs are computed once, and read back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.tasks.base import Outputs
from services.tasks.classify import Classify, ClassifySettings
from services.tasks.qa import AnswerQuestions, QaSettings
from services.windows import TextTokenizer
from training import teacher as module
from training.data import LabelledText, Question
from training.features import Feature, features
from training.models import TorchRunner, load_model
from training.teacher import HIDDEN, teacher_outputs

TEXTS = ["the red lamp", "water", "a key on the front of the machine"]
NEAR = 2e-3  # kept as float16


def labelled(tokenizer: TextTokenizer) -> list[Feature]:
    task = Classify(tokenizer, ClassifySettings(labels=["a", "b", "c"]))
    return features(task, [LabelledText(text, ("a",)) for text in TEXTS])


def asked(tokenizer: TextTokenizer) -> list[Feature]:
    task = AnswerQuestions(tokenizer, QaSettings())
    return features(task, [Question(text, "Where?", text, ()) for text in TEXTS])


@pytest.fixture
def model(tiny_bert: Path) -> Any:
    torch.manual_seed(1)
    return load_model("sequence-classification", tiny_bert, ["a", "b", "c"])


def test_outputs_of_every_window_are_read_back(
    model: Any, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    made = labelled(tokenizer)
    known = teacher_outputs(model, "sequence-classification", "id", made, 0, tmp_path)
    ran = TorchRunner(model, "sequence-classification", 0)([f.window for f in made])
    for i, expected in enumerate(ran):
        assert known[i]["logits"].dtype == np.float32
        assert np.abs(known[i]["logits"] - expected["logits"]).max() < NEAR


@pytest.mark.parametrize("base", ["bert", "distilbert"])
def test_outputs_for_each_token_have_the_windows_length(
    base: str, bases: dict[str, Path], tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    reader = load_model("question-answering", bases[base])
    made = asked(tokenizer)
    known = teacher_outputs(reader, "question-answering", "id", made, 0, tmp_path, hidden=True)
    for i, feature in enumerate(made):
        shapes = {name: array.shape for name, array in known[i].items()}
        tokens = len(feature.window)
        assert shapes == {"start_logits": (tokens,), "end_logits": (tokens,), HIDDEN: (tokens, 32)}


def test_hidden_states_are_the_last_ones(
    model: Any, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    made = labelled(tokenizer)
    kind = "sequence-classification"
    known = teacher_outputs(model, kind, "id", made, 0, tmp_path, hidden=True)
    ids = torch.tensor([made[0].window.input_ids])
    with torch.no_grad():
        last = model.eval()(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
    assert np.abs(known[0][HIDDEN] - last.numpy()).max() < 1e-2


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows the teacher has read, each time it ran."""
    counted: list[int] = []

    class Counting(TorchRunner):
        def __call__(self, windows: Any) -> list[Outputs]:
            counted.append(len(windows))
            return super().__call__(windows)

    monkeypatch.setattr(module, "TorchRunner", Counting)
    return counted


def test_the_second_time_the_teacher_does_not_run(
    model: Any, tokenizer: TextTokenizer, tmp_path: Path, runs: list[int]
) -> None:
    made = labelled(tokenizer)
    for _ in range(2):
        known = teacher_outputs(model, "sequence-classification", "id", made, 0, tmp_path)
    assert runs == [3]
    assert known[2]["logits"].shape == (3,)


def test_another_teacher_or_other_windows_are_computed_anew(
    model: Any, tokenizer: TextTokenizer, tmp_path: Path, runs: list[int]
) -> None:
    made = labelled(tokenizer)
    for identity, windows in (("one", made), ("two", made), ("one", made[::-1]), ("one", made[:2])):
        teacher_outputs(model, "sequence-classification", identity, windows, 0, tmp_path)
    assert runs == [3, 3, 3, 2]


def test_half_written_outputs_are_not_read(
    model: Any, tokenizer: TextTokenizer, tmp_path: Path, runs: list[int]
) -> None:
    made = labelled(tokenizer)
    teacher_outputs(model, "sequence-classification", "id", made, 0, tmp_path)
    (done,) = tmp_path.glob("*/done")
    done.unlink()
    teacher_outputs(model, "sequence-classification", "id", made, 0, tmp_path)
    assert runs == [3, 3]
