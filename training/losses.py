"""What is minimized: the task's own loss on labels, and the distance to a teacher.

All functions take the model's outputs and one collated batch (`training.features.collate`) and
return a scalar tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.features import OUTSIDE, UNLABELLED
from training.imbalance import one_label_loss, several_labels_loss

Batch = Mapping[str, Tensor]
MASKED = -1e4  # instead of -inf: a difference of two masked logits must stay a number


def task_loss(
    kind: str,
    outputs: Any,
    batch: Batch,
    label_smoothing: float = 0.0,
    out_of_scope_weight: float = 0.0,
    label_weights: Tensor | None = None,
    focal_gamma: float = 0.0,
) -> Tensor:
    """Cross-entropy with the labels; binary where several labels or sentences are chosen.

    out_of_scope_weight: of the undecidedness that is asked for where the target is OUTSIDE
    label_weights: (labels,) of a classifier; focal_gamma: see `training.imbalance`
    """
    if kind == "question-answering":
        start = functional.cross_entropy(_masked(outputs.start_logits, batch), batch["starts"])
        end = functional.cross_entropy(_masked(outputs.end_logits, batch), batch["ends"])
        return (start + end) / 2
    if kind == "sentence-extraction":
        scores = sentence_logits(outputs.logits, batch)
        known = batch["sentence_labels"] >= 0
        return functional.binary_cross_entropy_with_logits(
            scores[known], batch["sentence_labels"][known]
        )
    labels, logits = labelled(batch["targets"], outputs.logits.float())
    if labels.dtype == torch.float32:
        if not len(labels):
            return logits.sum()  # of nothing: 0, with a gradient
        return several_labels_loss(logits, labels, label_weights, focal_gamma)
    inside = labels != OUTSIDE
    loss = one_label_loss(
        logits[inside], labels[inside], label_weights, focal_gamma, label_smoothing
    )
    if out_of_scope_weight and not inside.all():
        loss = loss + out_of_scope_weight * decidedness(logits[~inside])
    return loss


def labelled(targets: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Both without the rows that only a teacher has judged."""
    known = targets != UNLABELLED if targets.ndim == 1 else targets[:, 0] != UNLABELLED
    return (targets, logits) if known.all() else (targets[known], logits[known])


def decidedness(logits: Tensor) -> Tensor:
    """Cross-entropy with the uniform distribution, mean over rows (Hendrycks et al. 2019).

    It is least, the logarithm of the number of labels, where all labels are equally likely.
    """
    return (logits.logsumexp(dim=-1) - logits.mean(dim=-1)).mean()


def distillation_loss(kind: str, outputs: Any, batch: Batch, temperature: float) -> Tensor:
    """Distance to the teacher's softened outputs (Hinton et al. 2015), times temperature squared.

    One label, and start and end of an answer: KL divergence. Several labels: binary cross-entropy
    with the teacher's softened probabilities. Sentences: squared error of the sentence scores.
    """
    if kind == "question-answering":
        start = soft_targets(
            _masked(outputs.start_logits, batch),
            _masked(batch["teacher_start_logits"], batch),
            temperature,
        )
        end = soft_targets(
            _masked(outputs.end_logits, batch),
            _masked(batch["teacher_end_logits"], batch),
            temperature,
        )
        return (start + end) / 2
    if kind == "sentence-extraction":
        scores = sentence_logits(outputs.logits, batch)
        teacher_scores = sentence_logits(batch["teacher_logits"], batch)
        known = batch["sentence_labels"] >= 0
        return functional.mse_loss(scores[known], teacher_scores[known])
    student_logits = outputs.logits.float()
    teacher_logits = batch["teacher_logits"]
    # A teacher that knows fewer classes, the first ones, teaches those (Li & Hoiem 2016).
    student_logits = student_logits[:, : teacher_logits.shape[1]]
    if batch["targets"].dtype == torch.float32:
        soft = torch.sigmoid(teacher_logits / temperature)
        loss = functional.binary_cross_entropy_with_logits(student_logits / temperature, soft)
        return loss * temperature**2
    return soft_targets(student_logits, teacher_logits, temperature)


def soft_targets(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) at `temperature`, mean over rows, times temperature squared."""
    student = functional.log_softmax(student_logits / temperature, dim=-1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=-1)
    divergence = functional.kl_div(student, teacher, log_target=True, reduction="batchmean")
    return divergence * temperature**2


def hidden_loss(student_hidden: Tensor, teacher_hidden: Tensor, batch: Batch) -> Tensor:
    """Mean squared distance of the last hidden states over real tokens (after Jiao et al. 2020)."""
    mask = batch["attention_mask"].unsqueeze(-1)
    squared = (student_hidden.float() - teacher_hidden) ** 2 * mask
    return squared.sum() / (mask.sum() * student_hidden.shape[-1])


def sentence_logits(token_logits: Tensor, batch: Batch) -> Tensor:
    """(windows, sentences) mean of the token logits (windows, tokens, 1) of each sentence."""
    owner = batch["token_sentence"]  # (windows, tokens), -1 outside of sentences
    sentences = batch["sentence_labels"].shape[1]
    one_hot = functional.one_hot(owner.clamp(min=0), sentences) * (owner >= 0).unsqueeze(-1)
    sums = torch.einsum("wt,wts->ws", token_logits.squeeze(-1).float(), one_hot.float())
    return sums / one_hot.sum(dim=1).clamp(min=1)


def _masked(logits: Tensor, batch: Batch) -> Tensor:
    return logits.float().masked_fill(batch["attention_mask"] == 0, MASKED)
