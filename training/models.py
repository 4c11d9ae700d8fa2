"""Torch models by kind: loading, running windows, and building students from teachers' layers."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from services.errors import UsageError
from services.tasks.base import Outputs
from services.tasks.kinds import KINDS
from services.windows import Window
from training.features import to_tensors
from training.pooling import CONFIG_KEY, mean_pooled
from training.recipe import Recipe

AUTO_CLASSES: dict[str, Any] = {
    "sequence-classification": transformers.AutoModelForSequenceClassification,
    "question-answering": transformers.AutoModelForQuestionAnswering,
    "sentence-extraction": transformers.AutoModelForTokenClassification,
    "seq2seq": transformers.AutoModelForSeq2SeqLM,
    "zero-shot": transformers.AutoModel,
}
OUTPUTS = {"question-answering": 2, "sentence-extraction": 1}  # numbers for each token
# What the architectures call the dropout of their layers.
DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "dropout_rate",
    "classifier_dropout",
    "seq_classif_dropout",
    "qa_dropout",
    "pooler_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
)
COUNTS_FROM_PADDING = ("roberta", "xlm-roberta", "camembert")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
EVERY = "global_attn_every_n_layers"  # of ModernBERT
# BERT's and DistilBERT's `layer`, BART's `layers`, T5's `block`, GPT-2's `h`; the first number
# counts the layers: T5 numbers the parts of each, too (`block.3.layer.1`).
LAYER = re.compile(r"^(?P<stack>.*?\b(?:layer|layers|block|h))\.(?P<number>\d+)\.(?P<tail>.+)$")


def load_model(
    kind: str, folder: Path, labels: Sequence[str] = (), pooling: str = "", **config: Any
) -> Any:
    """The checkpoint in `folder` with the head of its kind; a new head starts from the seed.

    Given labels, a head of another size (a base that was a classifier before) is made anew.
    pooling: what a classifier reads, see `training.pooling`; empty: as the checkpoint says
    Raises UsageError for a base that has no such pooling.
    """
    if kind == "sequence-classification" and labels:
        config["num_labels"] = len(labels)
        config["id2label"] = dict(enumerate(labels))
        config["label2id"] = {label: i for i, label in enumerate(labels)}
        config["ignore_mismatched_sizes"] = True
    if kind in OUTPUTS:  # whatever the base was trained for before
        config["num_labels"] = OUTPUTS[kind]
    transformers.logging.set_verbosity_error()  # "some weights are new" is the point here
    made = AUTO_CLASSES[kind]
    if kind == "sequence-classification":
        known = transformers.AutoConfig.from_pretrained(folder)
        if pooling or getattr(known, CONFIG_KEY, ""):
            if known.is_encoder_decoder:
                raise UsageError(
                    f"pooling is {pooling}; a {known.model_type} classifies by what its decoder "
                    "says last, and has no mean to read.",
                    "Leave `pooling` out, or take an encoder as the base.",
                )
            setattr(known, CONFIG_KEY, pooling or getattr(known, CONFIG_KEY))
            made = mean_pooled(transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(known)])
            for key in [key for key in config if hasattr(known, key)]:
                setattr(known, key, config.pop(key))
            config["config"] = known
    return made.from_pretrained(folder, dtype=torch.float32, **config)


def training_options(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """What `recipe` changes in the config of the model in `folder`, for `load_model`."""
    options: dict[str, Any] = {}
    if recipe.pooling:
        options["pooling"] = recipe.pooling
    if recipe.attention:
        options["attn_implementation"] = recipe.attention
    if recipe.dropout is not None:
        known = transformers.AutoConfig.from_pretrained(folder).to_dict()
        options |= {key: recipe.dropout for key in DROPOUTS if known.get(key) is not None}
    return options


def refuse_too_long(model: Any, recipe: Recipe) -> None:
    """Raise UsageError when a window is longer than the model has positions for."""
    most = (getattr(model.config, "max_position_embeddings", None) or recipe.max_tokens) - sum(
        unused_positions(model)
    )
    if recipe.max_tokens > most:
        raise UsageError(
            f"max_tokens is {recipe.max_tokens}; the base {recipe.base} reads at most {most}.",
            f"Set `max_tokens={most}`: longer texts are read in windows.",
        )


def unused_positions(model: Any) -> list[int]:
    """RoBERTa counts positions from behind its padding token: the first two are never used."""
    return [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings")
        and getattr(module, "padding_idx", None) is not None
        and model.config.model_type in COUNTS_FROM_PADDING
    ]


def start_at_frequencies(model: Any, frequencies: Sequence[float]) -> None:
    """Set the classifier's bias so that each label starts at its share of the rows.

    Otherwise the first epoch of a model with many rare labels goes into learning that they are rare
    (Lin et al. 2017, section 4.1).
    """
    shares = torch.tensor(frequencies).clamp(1e-4, 1 - 1e-4)
    bias = classifier_of(model, len(frequencies)).bias
    if bias is None:  # as in GPT-2's
        return
    with torch.no_grad():
        bias.copy_(torch.log(shares / (1 - shares)))


def classifier_of(model: Any, labels: int) -> nn.Linear:
    """The last layer that has one output for each label."""
    return [
        module
        for module in unwrapped(model).modules()
        if isinstance(module, nn.Linear) and module.out_features == labels
    ][-1]


def model_inputs(model: nn.Module) -> list[str]:
    """Which of our inputs the model's forward takes."""
    taken = inspect.signature(unwrapped(model).forward).parameters
    return [name for name in INPUTS if name in taken]


def unwrapped(model: Any) -> Any:
    """The transformers model inside a PEFT model."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


class TorchRunner:
    """Runs windows through a torch model: an `Infer` for `training.evaluate`.

    Windows are sorted by length and batched by tokens; outputs come back unpadded, in order.
    """

    def __init__(
        self, model: nn.Module, kind: str, pad_id: int, batch_tokens: int = 4096, bf16: bool = False
    ) -> None:
        self.model = model
        self.outputs = KINDS[kind][2]
        self.pad_id = pad_id
        self.batch_tokens = batch_tokens
        self.bf16 = bf16
        self.inputs = model_inputs(model)

    def __call__(self, windows: Sequence[Window]) -> list[Outputs]:
        results: list[Outputs] = [{} for _ in windows]
        training = self.model.training
        self.model.eval()
        for batch in token_batches([len(window) for window in windows], self.batch_tokens):
            feeds = to_tensors([windows[i] for i in batch], self.pad_id, self.inputs)
            for i, output in zip(batch, self._run(feeds), strict=True):
                results[i] = output
        self.model.train(training)
        return results

    def _run(self, feeds: Mapping[str, Tensor]) -> list[Outputs]:
        device = device_of(self.model)
        feeds = {name: tensor.to(device) for name, tensor in feeds.items()}
        lengths = feeds["attention_mask"].sum(dim=1).tolist()
        width = feeds["attention_mask"].shape[1]
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            output = self.model(**feeds)
        arrays = {name: getattr(output, name).float().cpu().numpy() for name in self.outputs}
        per_token = {name: self._per_token(name, array, width) for name, array in arrays.items()}
        return [
            {
                name: np.array(a[row, :length] if per_token[name] else a[row])
                for name, a in arrays.items()
            }
            for row, length in enumerate(lengths)
        ]

    def _per_token(self, name: str, array: np.ndarray[Any, Any], width: int) -> bool:
        return name != "logits" or array.ndim == 3


def token_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices in batches of similar length, each at most `batch_tokens` after padding."""
    batches: list[list[int]] = []
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            batches.append(batch)
            batch = []
        batch.append(index)
    return [*batches, batch] if batch else batches


# Students


def build_student(teacher: Any, layers: Sequence[int]) -> Any:
    """A model of the teacher's shape with only the chosen layers, weights copied.

    For encoder-decoder models the decoder is thinned and the encoder kept (Shleifer & Rush 2020).
    Raises UsageError for layers that the teacher does not have.
    """
    config = teacher.config.to_dict()
    key = _depth_key(teacher.config)
    depth = config[key]
    if not layers or min(layers) < 0 or max(layers) >= depth or len(set(layers)) < len(layers):
        raise UsageError(
            f"student_layers is {list(layers)}; expected different layers of 0 to {depth - 1}.",
            f"E.g. student_layers={list(range(0, depth, 2))}.",
        )
    config[key] = len(layers)
    if EVERY in config:
        config[EVERY] = _global_distance(layers, config[EVERY])
    attention = teacher.config._attn_implementation
    student = type(teacher)(type(teacher.config).from_dict(config, attn_implementation=attention))
    if teacher.can_generate():  # beams and first tokens are no part of the config
        student.generation_config = copy.deepcopy(teacher.generation_config)
    student.load_state_dict(thinned(teacher.state_dict(), layers, _thinned_part(teacher.config)))
    return student


def _global_distance(layers: Sequence[int], every: int) -> int:
    """The student's `EVERY`, by which each layer reads as far as it did in its teacher.

    The first layer of a ModernBERT has no norm in front of its attention and stays the first.
    """
    far = [layer % every == 0 for layer in layers]
    distances = range(1, len(layers) + 1)
    fitting = [n for n in distances if far == [place % n == 0 for place in range(len(layers))]]
    if layers[0] != 0 or not fitting:
        raise UsageError(
            f"student_layers is {list(layers)}; of this base one layer of every {every} reads the "
            "whole text and the others what is near: a student begins with layer 0, and those that "
            "read the whole have even distances.",
            f"E.g. student_layers={list(range(every + 1))}, or {[0, every]}.",
        )
    return fitting[0]


def _depth_key(config: Any) -> str:
    names = ("decoder_layers", "num_decoder_layers") if config.is_encoder_decoder else ()
    for name in (*names, config.attribute_map.get("num_hidden_layers", "num_hidden_layers")):
        if name in config.to_dict():
            return name
    raise UsageError(f"{config.model_type} names no number of layers that can be thinned.")


def _thinned_part(config: Any) -> str:
    return "decoder." if config.is_encoder_decoder else ""


def thinned(
    state: Mapping[str, Tensor], layers: Sequence[int], part: str = ""
) -> dict[str, Tensor]:
    """Keep the chosen layers of `part` and number them anew.

    T5 keeps its relative positions in the first layer alone; they stay with the student's first.
    """
    kept: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = LAYER.match(name)
        if match is None or part not in match["stack"] + ".":
            kept[name] = tensor
            continue
        number = int(match["number"])
        if "relative_attention_bias" in name:
            kept[f"{match['stack']}.0.{match['tail']}"] = tensor
        elif number in layers:
            kept[f"{match['stack']}.{list(layers).index(number)}.{match['tail']}"] = tensor
    return kept


def count_parameters(model: nn.Module, trainable: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)
