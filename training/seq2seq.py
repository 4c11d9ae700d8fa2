"""Generated summaries: fine-tuning BART and T5 families or a grown encoder, and shrinking them.

Distilling is shrink-and-fine-tune with pseudo-labels (Shleifer & Rush 2020): the student keeps the
encoder and some decoder layers and learns the people's summaries together with the teacher's own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import (
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    set_seed,
)

from services.manifest import sha256_of
from training.baselines import baselines
from training.bases import WEIGHTS, resolve
from training.checkpoint import (
    CONTROL,
    FIT_NAME,
    Description,
    comparison,
    describe,
    merged,
    read_description,
    save_checkpoint,
    save_control,
    write_json,
)
from training.data import load_data
from training.evaluate import Evaluation, score_summaries
from training.finetune import pretrained, starting_model
from training.fit import callbacks, similar_lengths, train, training_arguments
from training.models import (
    build_student,
    count_parameters,
    device_of,
    load_model,
    refuse_too_long,
    training_options,
    unwrapped,
)
from training.processes import from_main, is_main, main_first
from training.rates import RatesOfRecipe
from training.recipe import Recipe
from training.record import Fit
from training.rows import Document, Splits, digest
from training.strategies import apply_strategy
from training.tokenizers import load_tokenizer
from training.vocabulary import Pieces, add_embeddings, add_tokens

Pair = tuple[str, str]  # text, summary
NO_TOKEN = -100  # label of a padded position
PSEUDO_LABELS_KEPT = 500  # at a time: a minute or two on two cores


class Pairs(Dataset[dict[str, list[int]]]):
    """Tokenized (text, summary) pairs, cut at the recipe's lengths.

    start: the token that the decoder is given first; a label that repeats it teaches nothing
    """

    def __init__(self, pairs: Sequence[Pair], tokenizer: Any, recipe: Recipe, start: int) -> None:
        texts = [text for text, _ in pairs]
        summaries = [summary for _, summary in pairs]
        self._inputs = tokenizer(texts, truncation=True, max_length=recipe.max_tokens)
        labels = tokenizer(
            text_target=summaries, truncation=True, max_length=recipe.max_target_tokens
        )
        self._labels = [ids[1:] if ids[0] == start else ids for ids in labels["input_ids"]]
        self.lengths = [len(ids) for ids in self._inputs["input_ids"]]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {
            "input_ids": self._inputs["input_ids"][index],
            "attention_mask": self._inputs["attention_mask"][index],
            "labels": self._labels[index],
        }


class SummaryTrainer(RatesOfRecipe, Seq2SeqTrainer):
    """Cross-entropy of the summaries' tokens; scored on dev by the ROUGE of generated summaries."""

    def __init__(self, recipe: Recipe, scorer: Callable[[Any], Evaluation], **options: Any) -> None:
        super().__init__(**options)
        self.recipe = recipe
        self.scorer = scorer
        self.model_accepts_loss_kwargs = False  # our loss is a mean over the batch

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels = inputs["labels"]
        known = labels != NO_TOKEN
        with output_layer_at(self.model, known):
            given = {name: inputs[name] for name in inputs if name != "labels"}
            outputs = model(**given, use_cache=False)
        logits = outputs.logits.float()
        smoothing = self.recipe.label_smoothing
        loss = functional.cross_entropy(logits, labels[known], label_smoothing=smoothing)
        return (loss, outputs) if return_outputs else loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        value = from_main(lambda: self.scorer(self.model).value)
        metrics = {f"{metric_key_prefix}_score": value}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return similar_lengths(self, train_dataset)


@contextmanager
def output_layer_at(model: Any, positions: Tensor) -> Iterator[None]:
    """Logits (positions, vocabulary) where the mask (rows, tokens) is True, and nowhere else.

    The output layer of a small model is as wide as all its decoder layers together, and a third of
    a batch of summaries is padding.
    """
    layer = unwrapped(model).get_output_embeddings()
    hook = layer.register_forward_pre_hook(lambda _, inputs: (inputs[0][positions],))
    try:
        yield
    finally:
        hook.remove()


def finetune_seq2seq(recipe: Recipe, out: Path, progress: bool = True) -> Path:
    """Train an encoder-decoder on (text, summary) pairs; see `training.finetune.finetune`."""
    base = resolve(recipe.base)
    splits = load_data(recipe)
    with main_first():
        tokenizer, added = _save_tokenizer(Path(recipe.start or base.path), out, recipe)
    set_seed(recipe.seed)
    model = starting_model(recipe, base, splits, [])
    refuse_too_long(model, recipe)
    add_embeddings(model, added)
    model = apply_strategy(model, recipe)
    trainable = count_parameters(model, trainable=True)
    trained = _fit(model, _gold(splits["train"]), tokenizer, recipe, splits, out, progress)
    if not is_main():
        return out
    description = describe(recipe, base, [])
    model = merged(model, out, base.id)
    tested = _tested(model, tokenizer, recipe, splits["test"])
    rows, extra = len(splits["train"]), baselines(recipe, splits["test"])
    return save_checkpoint(model, description, recipe, tested, trained, rows, trainable, out, extra)


def distill_seq2seq(
    recipe: Recipe, teacher_folder: Path, out: Path, progress: bool = True, control: bool = True
) -> Path:
    """Shrink and fine-tune on labels and pseudo-labels; the control sees labels alone."""
    parent = read_description(teacher_folder)
    splits = load_data(recipe)
    tokenizer, _ = _save_tokenizer(teacher_folder, out, recipe)
    identity = sha256_of(teacher_folder / WEIGHTS)
    teacher = load_model(recipe.kind, teacher_folder, **training_options(teacher_folder, recipe))
    refuse_too_long(teacher, recipe)
    student = build_student(teacher, recipe.student_layers)
    pseudo = pseudo_labels(teacher, tokenizer, splits["train"], recipe, out / "teacher", identity)
    taught = _mixed(_gold(splits["train"]), pseudo, recipe.alpha)
    steps = recipe.max_steps or _steps(len(taught), recipe)
    equal = replace(recipe, max_steps=steps)  # the control takes as many
    set_seed(recipe.seed)
    student = apply_strategy(student, recipe)
    trainable = count_parameters(student, trainable=True)
    trained = _fit(student, taught, tokenizer, equal, splits, out, progress)
    plain = train_control(equal, parent, tokenizer, splits, out, progress) if control else None
    tested = _tested(student, tokenizer, recipe, splits["test"])
    full = _tested(teacher, tokenizer, recipe, splits["test"])
    untaught = plain and _tested(plain, tokenizer, recipe, splits["test"])
    record = comparison(recipe, tested, full, untaught, out)
    record["pseudo_labels"] = len(pseudo)
    description = replace(
        parent,
        role="distilled",
        parent=identity,
        layers=recipe.student_layers,
        recipe_digest=recipe.digest,
        max_tokens=recipe.max_tokens,
    )
    rows, extra = len(splits["train"]), {"distillation": record}
    return save_checkpoint(
        student, description, recipe, tested, trained, rows, trainable, out, extra
    )


def train_control(
    recipe: Recipe, parent: Description, tokenizer: Any, splits: Splits, out: Path, progress: bool
) -> Any:
    """The same student without its teacher: from the base, with people's summaries alone."""
    folder = out / CONTROL
    if (folder / FIT_NAME).is_file():
        return load_model(recipe.kind, folder)
    set_seed(recipe.seed)
    source = resolve(parent.base_source).path
    base = pretrained(recipe, source)
    add_embeddings(base, add_tokens(load_tokenizer(source), recipe.new_tokens))
    model = apply_strategy(build_student(base, recipe.student_layers), recipe)
    trained = _fit(model, _gold(splits["train"]), tokenizer, recipe, splits, folder, progress)
    save_control(model, trained, folder)
    return model


def _mixed(gold: Sequence[Pair], pseudo: Sequence[Pair], alpha: float) -> list[Pair]:
    """All of the teacher's summaries and a share of 1 - alpha of the people's, spread evenly."""
    count = round((1 - alpha) * len(gold))
    return [*(gold[i * len(gold) // count] for i in range(count)), *pseudo]


def pseudo_labels(
    teacher: Any,
    tokenizer: Any,
    rows: Sequence[Document],
    recipe: Recipe,
    folder: Path,
    identity: str,
) -> list[Pair]:
    """The teacher's own summaries of the training texts, written once and read ever after.

    They are kept a part at a time, so that a killed distillation goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs: list[Pair] = []
    for start in range(0, len(rows), PSEUDO_LABELS_KEPT):
        texts = [row.text for row in rows[start : start + PSEUDO_LABELS_KEPT]]
        limits = f"{recipe.max_tokens} {recipe.max_target_tokens}"
        key = digest("\n".join([identity, limits, *texts]))[:16]
        cache = folder / f"summaries-{key}.json"
        if not cache.is_file():
            write_json(cache, generate(teacher, tokenizer, texts, recipe, beams=4))
        summaries = json.loads(cache.read_text(encoding="utf-8"))
        pairs += zip(texts, summaries, strict=True)
    return pairs


def generate(
    model: Any, tokenizer: Any, texts: Sequence[str], recipe: Recipe, beams: int = 1
) -> list[str]:
    """Summaries by beam search (greedy for one beam), in the order of the texts."""
    device = device_of(model)
    training = model.training
    model.eval()
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    summaries = [""] * len(texts)
    for start in range(0, len(order), recipe.batch_size):
        chosen = order[start : start + recipe.batch_size]
        batch = tokenizer(
            [texts[i] for i in chosen],
            truncation=True,
            max_length=recipe.max_tokens,
            padding=True,
            return_tensors="pt",
        ).to(device)
        with torch.inference_mode():
            written = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=recipe.max_target_tokens,
                num_beams=beams,
            )
        for i, ids in zip(chosen, written, strict=True):
            summaries[i] = tokenizer.decode(ids, skip_special_tokens=True).strip()
    model.train(training)
    return summaries


def _fit(
    model: Any,
    pairs: Sequence[Pair],
    tokenizer: Any,
    recipe: Recipe,
    splits: Splits,
    out: Path,
    progress: bool,
) -> Fit:
    data = Pairs(pairs, tokenizer, recipe, model.config.decoder_start_token_id)
    arguments = training_arguments(
        recipe, out / "steps", len(pairs), progress, make=Seq2SeqTrainingArguments
    )
    trainer = SummaryTrainer(
        recipe,
        partial(_dev_score, tokenizer, recipe, splits["dev"]),
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=data,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model, label_pad_token_id=NO_TOKEN),
        callbacks=callbacks(recipe),
    )
    return train(trainer, recipe, out, sum(data.lengths))


def _dev_score(tokenizer: Any, recipe: Recipe, rows: Sequence[Document], model: Any) -> Evaluation:
    return _tested(model, tokenizer, recipe, rows)


def _tested(model: Any, tokenizer: Any, recipe: Recipe, rows: Sequence[Document]) -> Evaluation:
    return score_summaries(rows, generate(model, tokenizer, [row.text for row in rows], recipe))


def _gold(rows: Sequence[Document]) -> list[Pair]:
    return [(row.text, row.references[0]) for row in rows]


def _steps(pairs: int, recipe: Recipe) -> int:
    return max(1, math.ceil(pairs * recipe.epochs / (recipe.batch_size * recipe.accumulate)))


def _save_tokenizer(source: Path, out: Path, recipe: Recipe) -> tuple[Any, Pieces]:
    """The tokenizer in `source` with the recipe's new tokens, and what spelled those before."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(source)
    added = add_tokens(tokenizer, recipe.new_tokens)
    tokenizer.save_pretrained(out)
    return tokenizer, added
