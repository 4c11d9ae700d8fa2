"""The training loop: `transformers.Trainer`, scored on dev by the task's own metric.

Keeps its state in `OUT/steps` and goes on from the last checkpoint there when it is run again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import get_last_checkpoint

from training.features import Feature, collate
from training.losses import distillation_loss, hidden_loss, task_loss
from training.models import model_inputs
from training.recipe import Recipe
from training.record import Fit
from training.teacher import HIDDEN, TeacherOutputs

Scorer = Callable[[Any], tuple[str, float]]  # model -> (metric, value) on dev


class Windows(Dataset[int]):
    """Indices of the features; the collator looks the features up."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self.lengths = [len(feature.window) for feature in features]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> int:
        return index


class TaskTrainer(Trainer):
    """Trainer with our losses, our dev score, and batches of similar length."""

    def __init__(self, recipe: Recipe, scorer: Scorer, distilling: bool, **options: Any) -> None:
        super().__init__(**options)
        self.recipe = recipe
        self.scorer = scorer
        self.distilling = distilling
        self.model_accepts_loss_kwargs = False  # our losses are means over the batch

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = self._loss(model, inputs)
        return (loss, None) if return_outputs else loss

    def _loss(self, model: Any, batch: Mapping[str, Tensor]) -> Tensor:
        recipe = self.recipe
        names = [
            name for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch
        ]
        wants_hidden = self.distilling and recipe.hidden_weight > 0
        outputs = model(**{name: batch[name] for name in names}, output_hidden_states=wants_hidden)
        loss = task_loss(recipe.kind, outputs, batch, recipe.label_smoothing)
        if not self.distilling:
            return loss
        soft = distillation_loss(recipe.kind, outputs, batch, recipe.temperature)
        loss = recipe.alpha * soft + (1 - recipe.alpha) * loss
        if wants_hidden:
            distance = hidden_loss(outputs.hidden_states[-1], batch[f"teacher_{HIDDEN}"], batch)
            loss = loss + recipe.hidden_weight * distance
        return loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        name, value = self.scorer(self.model)
        metrics = {f"{metric_key_prefix}_{name}": value, f"{metric_key_prefix}_score": value}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        generator = torch.Generator().manual_seed(self.args.data_seed or self.args.seed)
        return LengthGroupedSampler(batch, lengths=dataset.lengths, generator=generator)


def fit(
    model: Any,
    features: Sequence[Feature],
    recipe: Recipe,
    out: Path,
    scorer: Scorer,
    pad_id: int,
    teacher_outputs: TeacherOutputs | None = None,
    progress: bool = True,
) -> Fit:
    """Train `model` in place on `features` and leave it at its best dev score."""
    torch.manual_seed(recipe.seed)
    batch = partial(_collate, features, pad_id, model_inputs(model), teacher_outputs)
    arguments = training_arguments(recipe, out / "steps", len(features), progress)
    trainer = TaskTrainer(
        recipe,
        scorer,
        teacher_outputs is not None,
        model=model,
        args=arguments,
        train_dataset=Windows(features),
        eval_dataset=Windows(features[:1]),  # `evaluate` scores dev rows itself
        data_collator=batch,
        callbacks=[EarlyStoppingCallback(recipe.patience)] if recipe.patience else [],
    )
    started = time.monotonic()
    result = trainer.train(resume_from_checkpoint=last_checkpoint(out))
    history = [
        {"step": entry["step"], "score": entry["eval_score"]}
        for entry in trainer.state.log_history
        if "eval_score" in entry
    ]
    epochs = trainer.state.epoch or 0.0
    tokens = round(epochs * sum(len(feature.window) for feature in features))
    best = trainer.state.best_metric
    return Fit(
        time.monotonic() - started,
        result.global_step,
        tokens,
        float(best if best is not None else np.nan),
        history,
    )


def _collate(
    features: Sequence[Feature],
    pad_id: int,
    inputs: Sequence[str],
    teacher_outputs: TeacherOutputs | None,
    indices: Sequence[int],
) -> dict[str, Tensor]:
    taught = [teacher_outputs[i] for i in indices] if teacher_outputs is not None else None
    return collate([features[i] for i in indices], pad_id, inputs, taught)


def last_checkpoint(out: Path) -> str | None:
    steps = out / "steps"
    return get_last_checkpoint(str(steps)) if steps.is_dir() else None


def training_arguments(
    recipe: Recipe,
    folder: Path,
    windows: int,
    progress: bool,
    make: type[TrainingArguments] = TrainingArguments,
) -> TrainingArguments:
    """The recipe in the Trainer's words; `windows` are what one epoch reads."""
    per_epoch = max(1, math.ceil(windows / (recipe.batch_size * recipe.accumulate)))
    steps = recipe.max_steps or math.ceil(per_epoch * recipe.epochs)
    every = max(1, math.ceil(steps / recipe.evaluations))
    return make(
        output_dir=str(folder),
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulate,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        learning_rate=recipe.learning_rate,
        warmup_ratio=recipe.warmup_ratio,
        weight_decay=recipe.weight_decay,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused",
        bf16=recipe.bf16,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=recipe.gradient_checkpointing,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=every,
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
        logging_steps=every,
        logging_strategy="steps",
        report_to=[],
        seed=recipe.seed,
        data_seed=recipe.seed,
        disable_tqdm=not progress,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
