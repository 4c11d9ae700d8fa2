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
from training.features import Feature, features
from training.hidden_states import HIDDEN
from training.models import TorchRunner, load_model
from training.relations import PARTS, LastProjections
from training.rows import LabelledText, Question
from training.teacher import Ensemble, Joined, Taught, teacher_outputs

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


@pytest.mark.parametrize("base", ["bert", "distilbert"])
def test_queries_keys_and_values_are_those_of_the_last_layer(
    base: str, bases: dict[str, Path], tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    teacher = load_model("sequence-classification", bases[base], ["a", "b", "c"])
    made, kind = labelled(tokenizer), "sequence-classification"
    known = teacher_outputs(teacher, kind, "id", made, 0, tmp_path, relations=True)
    kept = LastProjections(teacher)
    with torch.no_grad():
        teacher.eval()(input_ids=torch.tensor([made[2].window.input_ids]))
    for part in PARTS:
        assert known[2][part].shape == (len(made[2].window), 32)
        assert np.abs(known[2][part] - kept.parts[part][0].numpy()).max() < NEAR
    assert not teacher.training


class Said:
    """A teacher that has its outputs at hand."""

    def __init__(self, *logits: Any) -> None:
        self.outputs = [{"logits": np.array(one, np.float32)} for one in logits]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.outputs[index]


def test_joined_parts_are_one_after_the_other() -> None:
    joined = Joined([Said([1.0], [2.0]), Said([3.0])], [2, 1])
    assert [float(joined[i]["logits"][0]) for i in range(3)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_an_ensemble_is_the_mean_of_softened_probabilities(temperature: float) -> None:
    one, other = [2.0, 0.0, -1.0], [0.0, 3.0, 1.0]
    members: list[Taught] = [Said(one), Said(other)]
    kind = "sequence-classification"
    found = torch.tensor(Ensemble(members, kind, False, temperature)[0]["logits"])
    parts = [torch.softmax(torch.tensor(x) / temperature, -1) for x in (one, other)]
    assert torch.allclose(torch.softmax(found / temperature, -1), sum(parts) / 2, atol=1e-6)
    found = torch.tensor(Ensemble(members, kind, True, temperature)[0]["logits"])
    parts = [torch.sigmoid(torch.tensor(x) / temperature) for x in (one, other)]
    assert torch.allclose(torch.sigmoid(found / temperature), sum(parts) / 2, atol=1e-6)
    scores = Ensemble(members, "sentence-extraction", False, temperature)[0]["logits"]
    assert scores.tolist() == [1.0, 1.5, 0.0]
