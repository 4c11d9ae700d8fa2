"""Relations of queries, keys and values, against the definition written out in loops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from services.errors import UsageError
from training.models import load_model
from training.relations import PARTS, LastProjections, relation_loss

HEADS = 2
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def parts(seed: int, width: int = 8) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {part: torch.randn(2, 5, width, generator=generator) for part in PARTS}


def by_definition(student: dict[str, Tensor], teacher: dict[str, Tensor]) -> float:
    """Equations 2 to 5 of Wang et al. 2021, one pair of tokens at a time."""
    lengths = MASK.sum(dim=1).tolist()
    total = 0.0
    for part in PARTS:
        divergences = []
        for window, length in enumerate(lengths):
            for head in range(HEADS):
                for token in range(length):
                    p, q = (
                        softmax_of_products(model[part][window], head, token, length)
                        for model in (teacher, student)
                    )
                    divergences.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
        total += sum(divergences) / len(divergences)
    return total


def softmax_of_products(vectors: Tensor, head: int, token: int, length: int) -> list[float]:
    size = vectors.shape[1] // HEADS
    own = vectors[:, head * size : (head + 1) * size]
    products = [float(own[token] @ own[other]) / math.sqrt(size) for other in range(length)]
    total = sum(math.exp(product) for product in products)
    return [math.exp(product) / total for product in products]


def test_the_loss_is_the_one_of_the_definition() -> None:
    student, teacher = parts(1), parts(2)
    found = relation_loss(student, teacher, MASK, HEADS).item()
    assert found == pytest.approx(by_definition(student, teacher), rel=1e-4)


def test_a_student_may_be_narrower_than_its_teacher() -> None:
    student, teacher = parts(1, width=4), parts(2, width=8)
    found = relation_loss(student, teacher, MASK, HEADS).item()
    assert found == pytest.approx(by_definition(student, teacher), rel=1e-4)


def test_equal_models_have_no_distance_and_padding_does_not_count() -> None:
    teacher = parts(2)
    assert relation_loss(parts(2), teacher, MASK, HEADS).item() == pytest.approx(0.0, abs=1e-6)
    disturbed = {part: tensor.clone() for part, tensor in parts(1).items()}
    for tensor in disturbed.values():
        tensor[1, 3:] = 40.0
    expected = relation_loss(parts(1), teacher, MASK, HEADS)
    assert torch.isclose(relation_loss(disturbed, teacher, MASK, HEADS), expected)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("base", ["bert", "distilbert"])
def test_attention_is_made_of_what_is_kept(
    base: str, attention: str, bases: dict[str, Path]
) -> None:
    """The last layer's attention, computed again from queries, keys and values."""
    model = load_model("zero-shot", bases[base], attn_implementation=attention).eval()
    seen: dict[str, Any] = {}
    last = model.encoder.layer[-1] if base == "bert" else model.transformer.layer[-1]
    into = last.attention.output.dense if base == "bert" else last.attention.out_lin
    into.register_forward_hook(lambda module, inputs, output: seen.update(context=inputs[0]))
    kept = LastProjections(model)
    with torch.no_grad():
        model(input_ids=torch.tensor([[2, 5, 6, 7, 3]]))
    heads = model.config.num_attention_heads
    query, key, value = (kept.parts[part].view(1, 5, heads, -1).transpose(1, 2) for part in PARTS)
    context = nn.functional.scaled_dot_product_attention(query, key, value)
    assert torch.allclose(context.transpose(1, 2).reshape(1, 5, -1), seen["context"], atol=1e-5)
    kept.close()
    model(input_ids=torch.tensor([[2, 3]]))
    assert kept.parts == {}


def test_a_model_without_such_layers_is_refused() -> None:
    with pytest.raises(UsageError, match="Sequential has no layers of its own for queries"):
        LastProjections(nn.Sequential(nn.Linear(2, 2)))
