"""What a recipe may not say: values out of range, and keys that change nothing where they stand.

wrong_values({"kind": "seq2seq", "epochs": 0}, defaults)    # a list of faults, in words
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLASSIFIERS = ("sequence-classification",)
READERS = ("question-answering",)
SUMMARIZERS = ("sentence-extraction",)
WRITERS = ("seq2seq",)
ENCODERS = (*CLASSIFIERS, *READERS, *SUMMARIZERS)
KINDS = (*ENCODERS, *WRITERS)
DERIVATIONS = ("", "principal-sentences")
STRATEGIES = (
    *("head", "full", "lora", "scratch"),
    *("last_n", "gradual", "discriminative", "reinit_top", "two_stage"),
    *("prototypes", "contrastive"),
)
OF_ONE_LABEL = ("prototypes", "contrastive")  # strategies that tell classes apart by distances
WITH_A_HEAD = ("head", "two_stage")
ATTENTIONS = ("", "eager", "sdpa")
CROSS_ATTENTIONS = ("copied", "random")
CHOICES = {
    "kind": KINDS,
    "derive": DERIVATIONS,
    "strategy": STRATEGIES,
    "attention": ATTENTIONS,
    "cross_attention": CROSS_ATTENTIONS,
    "pooling": ("", "mean"),
    "schedule": ("", "linear", "slanted_triangular"),
    "class_weights": ("", "balanced", "effective"),
    "sampling": ("", "balanced"),
}
LEAST_WINDOW = 16  # tokens; below it special tokens and overlap leave no room for text
LEAST = {
    "batch_size": 1,
    "accumulate": 1,
    "evaluations": 1,
    "lora_r": 1,
    "lora_alpha": 1,
    "max_tokens": 1,
    "max_target_tokens": 1,
    "summary_sentences": 0,
    "max_steps": 0,
    "patience": 0,
    "stride": 0,
    "train_rows": 0,
    "dev_rows": 0,
    "test_rows": 0,
    "weight_decay": 0,
    "hidden_weight": 0,
    "relation_weight": 0,
    "out_of_scope_weight": 0,
    "examples_per_class": 0,
    "focal_gamma": 0,
    "last_layers": 1,
    "layer_decay": 1,
    "reinit_layers": 1,
}
SHARES = (
    *("alpha", "dropout", "label_smoothing", "lora_dropout", "null_ratio", "warmup_ratio"),
    "unfreeze_ratio",
)
ABOVE_ZERO = ("epochs", "head_epochs", "learning_rate", "temperature")
# Elsewhere they would change nothing.
OF_KINDS = {
    "calibration_data": READERS,
    "class_weights": CLASSIFIERS,
    "decoder_layers": WRITERS,
    "derive": SUMMARIZERS,
    "examples_per_class": CLASSIFIERS,
    "focal_gamma": CLASSIFIERS,
    "hidden_weight": ENCODERS,
    "label_smoothing": (*CLASSIFIERS, *WRITERS),
    "new_tokens": WRITERS,
    "pooling": CLASSIFIERS,
    "relation_weight": ENCODERS,
    "sampling": CLASSIFIERS,
    "temperature": (*CLASSIFIERS, *READERS),
    "unlabelled": CLASSIFIERS,
}
OF_STEPS = ("class_weights", "focal_gamma", "label_smoothing", "sampling")  # of a head so trained


def wrong_values(set_values: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """All faults of the values that a recipe sets, beside the defaults of the others."""
    values = {**defaults, **set_values}
    return [
        *_wrong_alone(values),
        *_wrong_together(values),
        *_wrong_for_kind(values, defaults),
        *_wrong_for_strategy(values, defaults),
    ]


def _wrong_alone(values: Mapping[str, Any]) -> list[str]:
    faults = []
    for key, choices in CHOICES.items():
        if key in values and values[key] not in choices:
            named = ", ".join(filter(None, choices))
            faults.append(f"{key} is {values[key]!r}; expected one of {named}")
    for key, least in LEAST.items():
        if key in values and values[key] < least:
            faults.append(f"{key} is {values[key]}; expected at least {least}")
    for key in ABOVE_ZERO:
        if key in values and not values[key] > 0:
            faults.append(f"{key} is {values[key]}; expected more than 0")
    for key in SHARES:
        if values.get(key) is not None and not 0.0 <= values[key] <= 1.0:
            faults.append(f"{key} is {values[key]}; expected 0 to 1")
    return faults


def _wrong_together(values: Mapping[str, Any]) -> list[str]:
    """Settings that are right alone but not with each other."""
    faults = []
    stride, max_tokens = values["stride"], values["max_tokens"]
    if values.get("kind") != "seq2seq":
        if max_tokens < LEAST_WINDOW:
            faults.append(f"max_tokens is {max_tokens}; expected at least {LEAST_WINDOW}")
        elif stride * 2 > max_tokens:
            faults.append(f"stride is {stride}; expected at most half of max_tokens ({max_tokens})")
    if values["multi_label"] and values["out_of_scope"]:
        faults.append("out_of_scope goes with one label per text; with multi_label leave it out")
    if values["multi_label"] and values["label_smoothing"]:
        faults.append("label_smoothing goes with one label per text; with multi_label leave it out")
    if values["out_of_scope_weight"] and not values["out_of_scope"]:
        faults.append(
            "out_of_scope_weight needs out_of_scope: the label of the rows that it is for"
        )
    if values["focal_gamma"] and values["label_smoothing"]:
        faults.append("focal_gamma does not go with label_smoothing, which calls sure rows wrong")
    return faults


def _wrong_for_kind(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Keys that change nothing in that kind."""
    kind = values.get("kind")
    faults = [
        f"{key} is for {', '.join(kinds)}; kind is {kind!r}"
        for key, kinds in OF_KINDS.items()
        if values.get(key, []) not in (defaults.get(key), []) and kind not in kinds
    ]
    if kind == "seq2seq" and values["strategy"] in WITH_A_HEAD:
        faults.append(
            f"strategy is {values['strategy']!r}; seq2seq has no new head, expected full or lora"
        )
    return faults


def _wrong_for_strategy(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """What a strategy needs, what it cannot start from, and keys that change nothing with it.

    Keys that many recipes set for all strategies, such as `head_learning_rate`, are no fault.
    """
    faults, strategy = [], values["strategy"]
    for key in ("start", "decoder_layers", "new_tokens"):
        if values.get(key) and strategy == "lora":
            faults.append(f"{key} does not go with lora: its adapter would not fit over the base")
    if values["start"] and strategy == "scratch":
        faults.append("start does not go with scratch, which begins with random weights")
    if strategy not in OF_ONE_LABEL:
        return faults
    if values.get("kind") != "sequence-classification":
        kind = values.get("kind")
        return [
            *faults,
            f"strategy {strategy} is for sequence-classification; kind is {kind!r}",
        ]
    if values["multi_label"]:
        faults.append(f"strategy {strategy} goes with one label per text, not multi_label")
    if values["pooling"] != "mean":
        faults.append(f"strategy {strategy} compares mean embeddings: set `pooling=mean`")
    faults += [
        f"{key} changes nothing with strategy {strategy}: set `{key}={defaults[key]}`"
        for key in OF_STEPS
        if values[key]
    ]
    return faults
