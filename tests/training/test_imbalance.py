"""Remedies for labels with few rows: weights, focal loss, and how often a row is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from services.windows import Window
from tests.training import tiny_data
from tests.training.test_rates import job_of
from training import fit as module
from training.features import OUTSIDE, UNLABELLED, Feature
from training.finetune import finetune
from training.fit import TaskTrainer
from training.imbalance import (
    BalancedLengths,
    label_counts,
    label_weights,
    one_label_loss,
    row_shares,
    several_labels_loss,
)
from training.recipe import Recipe
from training.strategies.job import fit_steps

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([0, 0, 1, 2, 2, 1])


def feature(target: Any) -> Feature:
    window = Window([2, 5, 3], [0, 0, 0], (1, 2), 0)
    return Feature(window, {"targets": np.asarray(target)})


def one_label(*targets: int) -> list[Feature]:
    return [feature(np.int64(target)) for target in targets]


def several(*targets: Sequence[float]) -> list[Feature]:
    return [feature(np.array(target, np.float32)) for target in targets]


def test_labels_are_counted_and_texts_outside_are_not() -> None:
    assert label_counts(one_label(0, 0, 2, OUTSIDE), 3).tolist() == [2, 1, 1]
    assert label_counts(several([1, 1], [0, 1], [0, 0]), 2).tolist() == [1, 2]
    assert label_counts(one_label(1, 1, UNLABELLED), 2).tolist() == [1, 2]
    assert label_counts(several([1, 1], [UNLABELLED] * 2), 2).tolist() == [1, 1]


def test_balanced_weights_are_the_inverse_of_the_counts() -> None:
    weights = label_weights("balanced", np.array([10.0, 20.0, 40.0]))
    assert weights.mean() == pytest.approx(1.0)
    assert weights[0] / weights[2] == pytest.approx(4.0)


def test_effective_weights_of_frequent_labels_are_nearly_alike() -> None:
    few = label_weights("effective", np.array([1.0, 4.0]))
    many = label_weights("effective", np.array([10_000.0, 40_000.0]))
    assert few[0] / few[1] == pytest.approx(4.0, rel=0.01)
    assert many[0] / many[1] == pytest.approx(1.0, rel=0.01)


def test_without_a_remedy_the_loss_is_the_plain_one() -> None:
    expected = functional.cross_entropy(LOGITS, TARGETS)
    assert one_label_loss(LOGITS, TARGETS).item() == pytest.approx(expected.item())
    several = (LOGITS > 0).float()
    expected = functional.binary_cross_entropy_with_logits(LOGITS, several)
    assert several_labels_loss(LOGITS, several).item() == pytest.approx(expected.item())


def test_weights_are_those_of_torch() -> None:
    weights = torch.tensor([0.5, 1.0, 1.5])
    expected = functional.cross_entropy(LOGITS, TARGETS, weight=weights)
    assert one_label_loss(LOGITS, TARGETS, weights).item() == pytest.approx(expected.item())


def test_of_several_labels_a_weight_is_of_rows_with_the_label_and_without() -> None:
    weights = torch.tensor([0.5, 1.0, 1.5])
    truth = (LOGITS > 0.3).float()
    columns = [several_labels_loss(LOGITS[:, [i]], truth[:, [i]]) for i in range(3)]
    expected = (weights * torch.stack(columns)).mean()
    assert several_labels_loss(LOGITS, truth, weights).item() == pytest.approx(expected.item())


def test_a_frequent_label_is_not_taught_to_be_absent() -> None:
    """Where the loss is least, a label's probability is its share of the rows, weighted or not."""
    truth = torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 1.0]])
    weights = torch.tensor(label_weights("balanced", truth.sum(dim=0).numpy()))
    logits = torch.logit(truth.mean(dim=0)).clone().requires_grad_()
    several_labels_loss(logits.expand(10, 2), truth, weights).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max().item() < 1e-6


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_is_that_of_its_paper(gamma: float) -> None:
    """FL = -(1 - p)**gamma log p, mean over rows."""
    right = functional.softmax(LOGITS, dim=1)[torch.arange(6), TARGETS]
    expected = (-((1 - right) ** gamma) * right.log()).mean()
    assert one_label_loss(LOGITS, TARGETS, focal_gamma=gamma).item() == pytest.approx(
        expected.item()
    )
    truth = (LOGITS > 0.3).float()
    p = torch.where(truth == 1, LOGITS.sigmoid(), 1 - LOGITS.sigmoid())
    expected = (-((1 - p) ** gamma) * p.log()).mean()
    found = several_labels_loss(LOGITS, truth, focal_gamma=gamma)
    assert found.item() == pytest.approx(expected.item())


def test_a_batch_without_rows_in_scope_has_no_loss() -> None:
    nothing = one_label_loss(LOGITS[:0], TARGETS[:0], torch.ones(3), 2.0)
    assert nothing.item() == 0.0


# Sampling


def test_labels_are_drawn_equally_often() -> None:
    features = one_label(*[0] * 90, *[1] * 9, 2)
    shares = row_shares(features, label_counts(features, 3))
    sampler = BalancedLengths(8, [3 + i % 7 for i in range(100)], shares, seed=1)
    drawn = [index for epoch in range(30) for index in drawn_in(sampler, epoch)]
    counts = Counter(int(features[index].targets["targets"]) for index in drawn)
    assert len(drawn) == 3000
    assert all(900 < counts[label] < 1100 for label in range(3))


def drawn_in(sampler: BalancedLengths, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_an_epoch_is_drawn_alike_again() -> None:
    shares = np.full(50, 1 / 50)
    one, other = (BalancedLengths(4, [5] * 50, shares, seed=3) for _ in range(2))
    assert drawn_in(one, 2) == drawn_in(other, 2) != drawn_in(one, 1)


def test_batches_are_of_similar_length() -> None:
    lengths = [i % 50 for i in range(2000)]
    drawn = drawn_in(BalancedLengths(8, lengths, np.full(2000, 1 / 2000), seed=1), 0)
    spreads = [
        max(lengths[j] for j in drawn[i : i + 8]) - min(lengths[j] for j in drawn[i : i + 8])
        for i in range(0, 2000, 8)
    ]
    assert sum(spreads) / len(spreads) < 5


def test_a_text_of_several_labels_is_as_likely_as_its_rarest_makes_it() -> None:
    features = several([1, 0], [1, 0], [1, 1], [0, 0])
    shares = row_shares(features, label_counts(features, 2))
    assert shares.sum() == pytest.approx(1.0)
    assert shares[2] == pytest.approx(3 * shares[0])
    assert shares[3] == pytest.approx(shares[0])


# In a training


@pytest.fixture
def lopsided(tmp_path: Path) -> Path:
    """Thirty tickets of one team, four of another."""
    rows = [
        {"text": tiny_data.TEXTS["billing"].format(f"{name} {i}"), "team": "billing"}
        for i in range(3)
        for name in tiny_data.NAMES
    ]
    rows += [
        {"text": tiny_data.TEXTS["shipping"].format(name), "team": "shipping"}
        for name in tiny_data.NAMES[:6]
    ]
    return tiny_data.write_jsonl(tmp_path / "lopsided.jsonl", rows)


@pytest.mark.parametrize(
    "remedy",
    [
        {"class_weights": "balanced"},
        {"class_weights": "effective", "focal_gamma": 2.0},
        {"sampling": "balanced"},
        {"sampling": "balanced", "strategy": "head"},
    ],
    ids=str,
)
def test_every_remedy_trains(
    remedy: dict[str, Any], make_recipe: Callable[..., Recipe], lopsided: Path, tmp_path: Path
) -> None:
    recipe = make_recipe("intent", data=str(lopsided), out_of_scope="", max_steps=4, **remedy)
    assert (finetune(recipe, tmp_path / "out", False) / "metrics.json").is_file()


@pytest.mark.parametrize("job", ["tags"])
def test_remedies_are_for_several_labels_too(
    job: str, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(
        job, max_steps=3, class_weights="balanced", focal_gamma=1.0, sampling="balanced"
    )
    assert (finetune(recipe, tmp_path / "out", False) / "metrics.json").is_file()


def test_the_trainer_weighs_and_draws_by_the_windows_it_is_given(
    make_recipe: Callable[..., Recipe],
    lopsided: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = make_recipe(
        "intent", data=str(lopsided), out_of_scope="", class_weights="balanced", sampling="balanced"
    )
    made: list[TaskTrainer] = []
    plain = module.train

    def watched(trainer: TaskTrainer, *arguments: Any) -> Any:
        made.append(trainer)
        return plain(trainer, *arguments)

    monkeypatch.setattr(module, "train", watched)
    model, job = job_of(recipe, tmp_path)
    fit_steps(model, job)
    counts = Counter(int(f.targets["targets"]) for f in job.windows)
    weights = made[0].label_weights
    assert weights is not None
    assert (weights[1] / weights[0]).item() == pytest.approx(counts[0] / counts[1], rel=1e-5)
    assert isinstance(made[0]._get_train_sampler(made[0].train_dataset), BalancedLengths)
