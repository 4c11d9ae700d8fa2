"""The training loop: `transformers.Trainer`, scored on dev by the task's own metric.

Keeps its state in `OUT/steps` and goes on from the last checkpoint there when it is run again.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_pt_utils import LengthGroupedSampler

from services.errors import UsageError
from training.energy import EnergyMeter, energy_of
from training.features import Feature, collate
from training.hidden_states import HIDDEN, LastHidden
from training.imbalance import BalancedLengths, label_counts, label_weights, row_shares
from training.losses import distillation_loss, hidden_loss, task_loss
from training.models import device_of, model_inputs, unwrapped
from training.processes import from_main, is_main, world_size
from training.rates import RatesOfRecipe
from training.recipe import Recipe
from training.record import Fit
from training.relations import PARTS, LastProjections, relation_loss
from training.teacher import Taught
from training.unfreezing import Unfreeze
from training.watching import watch

ENERGY_EVERY_S = 5.0
Scorer = Callable[[Any], tuple[str, float]]  # model -> (metric, value) on dev


class Windows(Dataset[int]):
    """Indices of the features; the collator looks the features up."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self.lengths = [len(feature.window) for feature in features]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> int:
        return index


class SimilarLengths(LengthGroupedSampler):
    """Batches of similar length, drawn anew each epoch by a seed of its own.

    The Trainer calls `set_epoch`, so a training that goes on in its third epoch reads the rows in
    the order of the third, as if it had never been stopped.
    """

    def __init__(self, batch_size: int, lengths: Sequence[int], seed: int) -> None:
        super().__init__(batch_size, lengths=list(lengths), generator=torch.Generator())
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Any:
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


class AnyLengths(SimilarLengths):
    """The same in plain random order."""

    def __iter__(self) -> Any:
        self.generator.manual_seed(self.seed + self.epoch)
        return iter(torch.randperm(len(self.lengths), generator=self.generator).tolist())


class ScoreTheEnd(TrainerCallback):
    """Score the last step too: the Trainer scores every n-th alone and would drop what follows."""

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> Any:
        if state.global_step >= state.max_steps:
            control.should_evaluate = True
        return control


class Bar(ProgressCallback):
    """The Trainer's bar with the numbers in it; its own callback prints them to stdout."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **options: Any) -> None:
        shown = {name: logs[name] for name in ("loss", "eval_score") if name in logs}
        if self.training_bar is not None and shown:
            self.training_bar.set_postfix(shown)


class TaskTrainer(RatesOfRecipe, Trainer):
    """Trainer with our losses, our dev score, and batches of similar length.

    features: the windows that are trained on; they say how frequent each label is
    """

    def __init__(
        self,
        recipe: Recipe,
        scorer: Scorer,
        distilling: bool,
        features: Sequence[Feature] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.recipe = recipe
        self.scorer = scorer
        self.distilling = distilling
        self.features = features
        self.label_weights = self._label_weights()
        wants_hidden = distilling and recipe.hidden_weight > 0
        self.hidden = LastHidden(self.model) if wants_hidden else None
        wants_relations = distilling and recipe.relation_weight > 0
        self.projections = LastProjections(self.model) if wants_relations else None
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
        outputs = model(**{name: batch[name] for name in names})
        loss = task_loss(
            recipe.kind,
            outputs,
            batch,
            recipe.label_smoothing,
            recipe.out_of_scope_weight,
            self.label_weights,
            recipe.focal_gamma,
        )
        if not self.distilling:
            return loss
        soft = distillation_loss(recipe.kind, outputs, batch, recipe.temperature)
        loss = recipe.alpha * soft + (1 - recipe.alpha) * loss
        if self.hidden is not None:
            ours = self.hidden.parts[HIDDEN]
            loss = loss + recipe.hidden_weight * hidden_loss(
                ours, batch[f"teacher_{HIDDEN}"], batch
            )
        if self.projections is not None:
            theirs = {part: batch[f"teacher_{part}"] for part in PARTS}
            heads = unwrapped(self.model).config.num_attention_heads
            mask = batch["attention_mask"]
            apart = relation_loss(self.projections.parts, theirs, mask, heads)
            loss = loss + recipe.relation_weight * apart
        return loss

    def _label_weights(self) -> Tensor | None:
        if not self.recipe.class_weights:
            return None
        counts = label_counts(self.features, self.model.config.num_labels)
        weights = label_weights(self.recipe.class_weights, counts)
        return torch.tensor(weights, dtype=torch.float32, device=device_of(self.model))

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        name, value = from_main(lambda: self.scorer(self.model))
        metrics = {f"{metric_key_prefix}_{name}": value, f"{metric_key_prefix}_score": value}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.recipe.sampling != "balanced":
            return similar_lengths(self, train_dataset)
        counts = label_counts(self.features, self.model.config.num_labels)
        shares = row_shares(self.features, counts)
        plain = similar_lengths(self, train_dataset)
        return BalancedLengths(plain.batch_size, plain.lengths, shares, plain.seed)


def fit(
    model: Any,
    features: Sequence[Feature],
    recipe: Recipe,
    out: Path,
    scorer: Scorer,
    pad_id: int,
    teacher_outputs: Taught | None = None,
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
        features,
        model=model,
        args=arguments,
        train_dataset=Windows(features),
        eval_dataset=Windows(features[:1]),  # `evaluate` scores dev rows itself
        data_collator=batch,
        callbacks=callbacks(recipe),
    )
    trained = train(trainer, recipe, out, sum(len(feature.window) for feature in features))
    for kept in (trainer.hidden, trainer.projections):
        if kept is not None:
            kept.close()
    return trained


def train(trainer: Trainer, recipe: Recipe, out: Path, epoch_tokens: int) -> Fit:
    """Run a trainer to its end, from the last step kept in `out`; it ends at its best dev score.

    epoch_tokens: real tokens in one epoch. Raises UsageError when another recipe's steps lie there.
    """
    _show_progress(trainer)
    checkpoint = last_checkpoint(out)
    _claim_steps(out / "steps", recipe, checkpoint)
    resumed = int(checkpoint.rpartition("-")[2]) if checkpoint else 0
    started = time.monotonic()
    with EnergyMeter(ENERGY_EVERY_S) as meter:
        if not _ended(trainer, checkpoint):
            trainer.train(resume_from_checkpoint=checkpoint)
    steps = trainer.state.global_step
    seconds = time.monotonic() - started
    history = [
        {"step": entry["step"], "score": entry["eval_score"]}
        for entry in trainer.state.log_history
        if "eval_score" in entry
    ]
    read_now = (trainer.state.epoch or 0.0) * (steps - resumed) / max(steps, 1)
    best = max(entry["score"] for entry in history)
    losses = [
        {"step": entry["step"], "loss": entry["loss"]}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]
    energy = energy_of(meter, watch().country)
    tokens = round(read_now * epoch_tokens)
    return Fit(seconds, steps, tokens, best, history, resumed, losses, energy)


def callbacks(recipe: Recipe) -> list[TrainerCallback]:
    stop = [EarlyStoppingCallback(recipe.patience)] if recipe.patience else []
    unfreeze = [Unfreeze(recipe)] if recipe.strategy == "gradual" else []
    return [ScoreTheEnd(), *unfreeze, *stop, *watch().callbacks]


def similar_lengths(trainer: Trainer, dataset: Any = None) -> SimilarLengths:
    """The sampler over a dataset that has `lengths`."""
    args = trainer.args
    lengths = (trainer.train_dataset if dataset is None else dataset).lengths
    batch = args.train_batch_size * args.gradient_accumulation_steps * world_size()
    if not args.group_by_length:
        return AnyLengths(batch, lengths, args.seed)
    return SimilarLengths(batch, lengths, args.seed)


def _ended(trainer: Trainer, checkpoint: str | None) -> bool:
    """Whether `checkpoint` was the last; if so the model is put to its best score, as at the end.

    A Trainer that resumes there would take one step more.
    """
    if checkpoint is None:
        return False
    state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
    control: Any = state.stateful_callbacks.get("TrainerControl", {})
    if not control.get("args", {}).get("should_training_stop"):
        return False
    trainer.state = state
    trainer._load_best_model()
    return True


def _show_progress(trainer: Trainer) -> None:
    """A bar on stderr or nothing: stdout is for results."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if not trainer.args.disable_tqdm:
        trainer.add_callback(Bar)


def _claim_steps(steps: Path, recipe: Recipe, checkpoint: str | None) -> None:
    """Remember whose steps these are, and refuse to go on from those of another recipe."""
    if not is_main():
        return
    owner = steps / "recipe.sha256"
    if checkpoint and owner.is_file() and owner.read_text(encoding="utf-8") != recipe.digest:
        raise UsageError(
            f"{steps} holds an unfinished training of another recipe (or other settings).",
            "Run it with the same settings, choose another folder with `out=DIR`, or remove it.",
        )
    steps.mkdir(parents=True, exist_ok=True)
    owner.write_text(recipe.digest, encoding="utf-8")


def _collate(
    features: Sequence[Feature],
    pad_id: int,
    inputs: Sequence[str],
    teacher_outputs: Taught | None,
    indices: Sequence[int],
) -> dict[str, Tensor]:
    taught = [teacher_outputs[i] for i in indices] if teacher_outputs is not None else None
    return collate([features[i] for i in indices], pad_id, inputs, taught)


def last_checkpoint(out: Path) -> str | None:
    """The newest complete step: its `trainer_state.json` is written last; a kill leaves it out."""
    complete = (path.parent for path in out.glob(f"steps/checkpoint-*/{TRAINER_STATE_NAME}"))
    found = {int(folder.name.rpartition("-")[2]): str(folder) for folder in complete}
    return found[max(found)] if found else None


def training_arguments(
    recipe: Recipe,
    folder: Path,
    windows: int,
    progress: bool,
    make: type[TrainingArguments] = TrainingArguments,
) -> TrainingArguments:
    """The recipe in the Trainer's words; `windows` are what one epoch reads."""
    at_once = recipe.batch_size * recipe.accumulate * world_size()
    per_epoch = max(1, math.ceil(windows / at_once))
    steps = recipe.max_steps or math.ceil(per_epoch * recipe.epochs)
    every = max(1, math.ceil(steps / recipe.evaluations))
    # transformers leaves the precision of one training there, and the next one would have it too.
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
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
        # The reentrant kind passes no gradients on when its input, frozen embeddings, has none.
        gradient_checkpointing_kwargs={"use_reentrant": False},
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=every,
        save_steps=every,
        save_total_limit=2,
        restore_callback_states_from_checkpoint=True,  # or patience would count anew
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
        # A tracker's curve wants more points than there are scorings.
        logging_steps=max(1, every // 10) if watch().report_to else every,
        logging_strategy="steps",
        group_by_length=recipe.group_by_length,
        report_to=list(watch().report_to),
        logging_dir=str(folder.parent / "runs"),
        run_name=recipe.name,
        seed=recipe.seed,
        data_seed=recipe.seed,
        disable_tqdm=not progress,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
