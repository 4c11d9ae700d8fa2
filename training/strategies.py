"""Which parameters move: `head`, `full` or `lora`.

head: feature extraction; the pretrained part stays as it is
full: everything moves, but for the embeddings when the recipe freezes them
lora: low-rank changes of all linear layers (Hu et al. 2022), by `peft`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peft import LoraConfig, TaskType, get_peft_model

from training.recipe import Recipe

PEFT_TASKS = {
    "sequence-classification": TaskType.SEQ_CLS,
    "question-answering": TaskType.QUESTION_ANS,
    "sentence-extraction": TaskType.TOKEN_CLS,
    "seq2seq": TaskType.SEQ_2_SEQ_LM,
}


def apply_strategy(model: Any, recipe: Recipe) -> Any:
    """The model to train: frozen or wrapped as the recipe's strategy says."""
    return STRATEGIES[recipe.strategy](model, recipe)


def _head(model: Any, recipe: Recipe) -> Any:
    model.base_model.requires_grad_(False)
    pooler = getattr(model.base_model, "pooler", None)
    if pooler is not None:  # part of the head: between the encoder and the classifier
        pooler.requires_grad_(True)
    return model


def _full(model: Any, recipe: Recipe) -> Any:
    if recipe.freeze_embeddings:
        embeddings = getattr(model.base_model, "embeddings", None) or model.get_input_embeddings()
        embeddings.requires_grad_(False)
    return model


def _lora(model: Any, recipe: Recipe) -> Any:
    config = LoraConfig(
        task_type=PEFT_TASKS[recipe.kind],
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules="all-linear",
    )
    return get_peft_model(model, config)


STRATEGIES: dict[str, Callable[[Any, Recipe], Any]] = {
    "head": _head,
    "full": _full,
    "lora": _lora,
}
