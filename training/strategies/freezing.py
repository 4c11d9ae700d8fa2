"""Strategies that are a choice of parameters: which of them move, and which start anew."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model

from services.errors import UsageError
from training.layers import depth, head_names, is_new, layer_groups
from training.recipe import Recipe

PEFT_TASKS = {
    "sequence-classification": TaskType.SEQ_CLS,
    "question-answering": TaskType.QUESTION_ANS,
    "sentence-extraction": TaskType.TOKEN_CLS,
    "seq2seq": TaskType.SEQ_2_SEQ_LM,
}


def head(model: Any, recipe: Recipe) -> Any:
    """Feature extraction: the pretrained part stays as it is."""
    model.base_model.requires_grad_(False)
    pooler = getattr(model.base_model, "pooler", None)
    if pooler is not None:  # part of the head: between the encoder and the classifier
        pooler.requires_grad_(True)
    return model


def full(model: Any, recipe: Recipe) -> Any:
    """Everything moves, but for the embeddings when the recipe freezes them."""
    if recipe.freeze_embeddings:
        embeddings = getattr(model.base_model, "embeddings", None) or model.get_input_embeddings()
        embeddings.requires_grad_(False)
    return model


def last_n(model: Any, recipe: Recipe) -> Any:
    """The head and the last `last_layers` layers move."""
    groups = layer_groups(model)
    _refuse_too_many("last_layers", recipe.last_layers, model)
    moving = {name for names in groups[-1 - recipe.last_layers :] for name in names}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in moving)
    return model


def lora(model: Any, recipe: Recipe) -> Any:
    """Low-rank changes of all linear layers (Hu et al. 2022), by `peft`; the head moves whole."""
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


def scratch(model: Any, recipe: Recipe) -> Any:
    """The base's weights drawn anew; a head that no base brings along is new already."""
    fresh = type(model)(copy.deepcopy(model.config))
    prefix = f"{model.base_model_prefix}."
    if recipe.kind != "seq2seq":
        new = {k: v for k, v in model.state_dict().items() if not k.startswith(prefix)}
        fresh.load_state_dict(new, strict=False)
    if model.can_generate():
        fresh.generation_config = copy.deepcopy(model.generation_config)
    return fresh


def reinit_top(model: Any, recipe: Recipe) -> Any:
    """The last `reinit_layers` layers and the pooler start anew, then all moves as in `full`.

    What no base brings along stays: it is new already, with a bias that knows the labels' shares.

    The top of a base is the most special to what it was pretrained for (Zhang et al. 2021).
    """
    _refuse_too_many("reinit_layers", recipe.reinit_layers, model)
    groups = layer_groups(model)
    anew = {name for names in groups[-1 - recipe.reinit_layers :] for name in names}
    output = model.get_output_embeddings()  # untied, as FLAN-T5's, it is no part of the last layer
    learned = set(output.parameters()) if output is not None else set()
    # Of a whole model: ModernBERT and T5 draw the parts of a layer by what they are for.
    fresh = dict(type(model)(copy.deepcopy(model.config)).named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in anew and not is_new(model, name) and parameter not in learned:
                parameter.copy_(fresh[name])
    return full(model, recipe)


def _refuse_too_many(key: str, count: int, model: Any) -> None:
    most = depth(model)
    if count > most:
        raise UsageError(f"{key} is {count}; the base has {most} layers.", f"Set `{key}={most}`.")
