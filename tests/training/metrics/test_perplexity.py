"""Perplexity is e to the loss that the model itself reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from training.data import load_data
from training.metrics.perplexity import perplexity, summary_losses
from training.recipe import Recipe
from training.rows import Document

MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_the_loss_of_one_row_is_the_models_own(
    family: str, make_recipe: MakeRecipe, bases: dict[str, Path]
) -> None:
    recipe = make_recipe("dialogue", family)
    tokenizer = AutoTokenizer.from_pretrained(bases[family])
    model = AutoModelForSeq2SeqLM.from_pretrained(bases[family]).eval()
    rows: list[Document] = load_data(recipe)["train"][:3]
    losses = summary_losses(model, tokenizer, rows, recipe)
    for row, (loss, tokens) in zip(rows, losses, strict=True):
        batch = tokenizer([row.text], text_target=[row.references[0]], return_tensors="pt")
        labels = batch["labels"][:, : recipe.max_target_tokens]
        with torch.inference_mode():
            expected = model(input_ids=batch["input_ids"], labels=labels).loss
        assert tokens == labels.shape[1]
        assert loss / tokens == pytest.approx(float(expected), abs=1e-4)


def test_perplexity_weighs_tokens_not_rows() -> None:
    found = perplexity(np.array([[1.0, 1.0], [9.0, 3.0]]))
    assert found["value"] == pytest.approx(math.exp(10 / 4))
    assert found["tokens"] == 4
    assert found["ci_low"] <= found["value"] <= found["ci_high"]
