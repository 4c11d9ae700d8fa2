"""What most people would write: a classifier by a plain `transformers.Trainer`.

The opponent of `transfer results throughput`, in the manner of transformers' examples/run_glue.py:
the same base, rows, rate, epochs and batch size; texts cut and, as that script does by default,
padded to the full length; everything else as the Trainer has it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from training.bases import resolve
from training.data import load_data
from training.finetune import trainable_rows
from training.layers import is_head
from training.recipe import Recipe
from training.rows import label_names
from training.tokenizers import load_tokenizer


class Texts(Dataset[dict[str, Any]]):
    """Tokenized texts with their label numbers."""

    def __init__(
        self, rows: Any, labels: list[str], tokenizer: Any, max_tokens: int, pad: bool
    ) -> None:
        self.encoded = tokenizer(
            [row.text for row in rows],
            truncation=True,
            max_length=max_tokens,
            padding="max_length" if pad else False,
        )
        self.targets = [labels.index(row.labels[0]) for row in rows]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**{k: v[index] for k, v in self.encoded.items()}, "labels": self.targets[index]}

    @property
    def tokens(self) -> int:
        """Real ones."""
        return sum(sum(mask) for mask in self.encoded["attention_mask"])


def train_plain(
    recipe: Recipe, out: Path, pad: bool = True, frozen: bool = False
) -> tuple[list[bool], int, float, int]:
    """(which test rows in scope are right, steps, seconds of the loop, real tokens that it read).

    pad: to `max_tokens`, else to the longest of a batch; frozen: only the head moves, a pooler with
    it, as in our strategy `head`
    """
    base, splits = resolve(recipe.base), load_data(recipe)
    labels = label_names(splits["train"], recipe.out_of_scope)
    tokenizer = load_tokenizer(base.path)
    set_seed(recipe.seed)
    model = AutoModelForSequenceClassification.from_pretrained(base.path, num_labels=len(labels))
    if frozen:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(is_head(model, name))
    rows = [row for row in trainable_rows(splits["train"], recipe) if row.labels[0] in labels]
    train = Texts(rows, labels, tokenizer, recipe.max_tokens, pad)
    test = Texts(
        [row for row in splits["test"] if row.labels[0] in labels],
        *(labels, tokenizer, recipe.max_tokens, pad),
    )
    trainer = Trainer(
        model,
        _arguments(recipe, out),
        data_collator=default_data_collator if pad else DataCollatorWithPadding(tokenizer),
        train_dataset=train,
    )
    trainer.remove_callback(PrinterCallback)
    started = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    answers = trainer.predict(test).predictions.argmax(axis=1)
    right = [int(a) == target for a, target in zip(answers, test.targets, strict=True)]
    tokens = round((trainer.state.epoch or 0.0) * train.tokens)
    return right, trainer.state.global_step, seconds, tokens


def _arguments(recipe: Recipe, out: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=recipe.batch_size,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        learning_rate=recipe.learning_rate,
        warmup_ratio=recipe.warmup_ratio,
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
    )
