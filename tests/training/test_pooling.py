"""A classifier over mean embeddings: what it computes, and that it is loaded as it was saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from services.errors import UsageError
from services.windows import TextTokenizer
from training.features import to_tensors
from training.models import build_student, load_model, model_inputs
from training.pooling import normalized, pool

KIND = "sequence-classification"


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_its_logits_are_linear_in_the_mean_of_real_tokens(
    name: str, bases: dict[str, Path]
) -> None:
    model = load_model(KIND, bases[name], ["a", "b"], "mean").eval()
    tokenizer = TextTokenizer.load(bases[name] / "tokenizer.json")
    texts = ("the lamp", "the lamp of the machine is green when it is ready")
    windows = [tokenizer.single(tokenizer.tokens(text), 64, 16)[0] for text in texts]
    feeds = to_tensors(windows, tokenizer.pad_id, model_inputs(model))
    encoder = load_model("zero-shot", bases[name]).eval()
    for row, window in enumerate(windows):
        alone = to_tensors([window], tokenizer.pad_id, model_inputs(encoder))
        mean = encoder(**alone).last_hidden_state[0].mean(dim=0)
        expected = model.classifier(functional.normalize(mean, dim=0) * 32**0.5)
        assert torch.allclose(model(**feeds).logits[row], expected, atol=1e-5)


def test_a_checkpoint_is_loaded_as_it_was_saved(bases: dict[str, Path], tmp_path: Path) -> None:
    model = load_model(KIND, bases["bert"], ["a", "b", "c"], "mean").eval()
    model.save_pretrained(tmp_path)
    again = load_model(KIND, tmp_path).eval()
    assert type(again) is type(model)
    assert again.config.id2label == {0: "a", 1: "b", 2: "c"}
    ids = torch.tensor([[2, 7, 9, 3]])
    assert torch.equal(again(ids).logits, model(ids).logits)
    plain = load_model(KIND, bases["bert"], ["a", "b", "c"])
    assert type(plain) is not type(model)


def test_a_student_pools_as_its_teacher(bases: dict[str, Path]) -> None:
    teacher = load_model(KIND, bases["bert"], ["a", "b"], "mean")
    student = build_student(teacher, [0, 3])
    assert type(student) is type(teacher)
    outputs = student(torch.tensor([[2, 7, 3]]), output_hidden_states=True)
    assert len(outputs.hidden_states) == 3


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_base_that_answers_with_a_decoder_has_no_mean(name: str, bases: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=f"a {name} classifies by what its decoder says last"):
        load_model(KIND, bases[name], ["a", "b"], "mean")


def test_all_vectors_have_one_length() -> None:
    vectors = normalized(torch.randn(5, 16))
    assert torch.allclose(vectors.pow(2).mean(dim=-1), torch.ones(5), atol=1e-5)
    hidden = torch.randn(2, 3, 16)
    assert torch.allclose(pool(hidden, None), pool(hidden, torch.ones(2, 3)), atol=1e-6)
