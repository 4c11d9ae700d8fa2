"""Which parameters move, and from where: `head`, `full`, `lora` or `scratch`.

head: feature extraction; the pretrained part stays as it is
full: everything moves, but for the embeddings when the recipe freezes them
lora: low-rank changes of all linear layers (Hu et al. 2022), by `peft`; the head moves whole
scratch: everything moves, from random weights: the same shape without what it learned before
"""

from __future__ import annotations

import copy
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


def head_names(model: Any) -> list[str]:
    """The modules of the head: what no base brings along, such as DistilBERT's pre_classifier."""
    names = [
        name
        for name, module in model.named_children()
        if module is not model.base_model and any(True for _ in module.parameters())
    ]
    pooled = getattr(model.base_model, "pooler", None) is not None
    return [*names, "pooler"] if pooled else names


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
        # An adapter without them could not be put over the base again: they start at random.
        modules_to_save=None if recipe.kind == "seq2seq" else head_names(model),
    )
    return get_peft_model(model, config)


def _scratch(model: Any, recipe: Recipe) -> Any:
    """The base's weights drawn anew; a head that no base brings along is new already."""
    fresh = type(model)(copy.deepcopy(model.config))
    prefix = f"{model.base_model_prefix}."
    if recipe.kind != "seq2seq":
        head = {k: v for k, v in model.state_dict().items() if not k.startswith(prefix)}
        fresh.load_state_dict(head, strict=False)
    if model.can_generate():
        fresh.generation_config = copy.deepcopy(model.generation_config)
    return fresh


STRATEGIES: dict[str, Callable[[Any, Recipe], Any]] = {
    "head": _head,
    "full": _full,
    "lora": _lora,
    "scratch": _scratch,
}
