"""Strategies for a handful of examples: class means, and pairs before a logistic regression."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.test_rates import job_of
from training.data import load_data
from training.dev_score import dev_scorer
from training.finetune import finetune
from training.models import load_model
from training.recipe import Recipe
from training.strategies import fit_by_strategy
from training.strategies.contrastive import Pairs, contrastive_loss, logistic_layer
from training.strategies.prototypes import class_means, prototype_layer

MakeRecipe = Callable[..., Recipe]
FEW: dict[str, Any] = {"pooling": "mean", "examples_per_class": 3, "evaluations": 1}


def unit(*vectors: list[float]) -> np.ndarray[Any, Any]:
    found = np.array(vectors, np.float64)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_layer_of_prototypes_tells_the_nearest_mean() -> None:
    generator = np.random.default_rng(0)
    vectors = unit(*generator.normal(size=(60, 5)).tolist())
    labels = np.arange(60) % 4
    means = class_means(vectors, labels)
    weight, bias = prototype_layer(means)
    distances = ((vectors[:, None] - means[None]) ** 2).sum(axis=2)
    assert ((vectors @ weight.T + bias).argmax(axis=1) == distances.argmin(axis=1)).all()


def test_prototypes_move_nothing_but_the_classifier(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    model, job = job_of(make_recipe("intent", strategy="prototypes", **FEW), tmp_path)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trained = fit_by_strategy(model, job)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"classifier.weight", "classifier.bias"}
    assert trained.steps == 0
    assert trained.best_dev == dev_scorer(job.task, job.dev, job.recipe)(model)[1] > 1 / 3


@pytest.mark.parametrize("strategy", ["prototypes", "contrastive"])
def test_the_checkpoint_is_a_classifier_like_any_other(
    strategy: str, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("intent", strategy=strategy, **{**FEW, "max_steps": 3})
    out = finetune(recipe, tmp_path / "out", progress=False)
    model = load_model(recipe.kind, out)
    assert type(model).__name__ == "MeanPooledBertForSequenceClassification"
    assert model.classifier.out_features == 3
    assert finetune(recipe, tmp_path / "again", progress=False) != out
    same = load_model(recipe.kind, tmp_path / "again")
    assert torch.equal(model.classifier.weight, same.classifier.weight)


# Pairs


def test_each_text_is_followed_by_another_of_its_class() -> None:
    labels = [0, 0, 1, 1, 1, 2]
    pairs = Pairs(labels, seed=1)
    drawn = list(pairs)
    assert len(drawn) == len(pairs) == 12
    assert sorted(drawn[::2]) == list(range(6))
    for one, other in zip(drawn[::2], drawn[1::2], strict=True):
        assert labels[one] == labels[other]
        assert one != other or labels.count(labels[one]) == 1
    assert list(pairs) == drawn
    pairs.set_epoch(1)
    assert list(pairs) != drawn


def test_the_loss_is_least_where_classmates_are_nearest() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0], [2, 0], [0, 1], [0, 3]])
    assert contrastive_loss(apart, labels).item() == pytest.approx(0.0, abs=1e-3)
    same = torch.ones(4, 2)  # one right of three that are as near
    assert contrastive_loss(same, labels).item() == pytest.approx(np.log(3))
    assert contrastive_loss(apart, torch.tensor([0, 1, 1, 0])).item() > np.log(3)


def test_a_text_without_a_classmate_is_one_of_the_others() -> None:
    vectors = torch.eye(6)
    labels = torch.tensor([0, 0, 1, 2, 3, 4])
    assert contrastive_loss(vectors, labels).item() == pytest.approx(np.log(5))


def test_a_stranger_that_is_near_is_pushed_harder_than_one_that_is_far() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.9, 0.4], [0.9, -0.4], [-1.0, 0.1]], requires_grad=True)
    contrastive_loss(vectors, torch.tensor([0, 0, 1, 2])).backward()
    near, far = vectors.grad[2].norm(), vectors.grad[3].norm()
    assert near > 10 * far > 0


def test_without_anybody_to_compare_there_is_nothing_to_learn() -> None:
    assert contrastive_loss(torch.eye(2), torch.tensor([1, 1])).item() == pytest.approx(0.0)
    alone = torch.eye(2, requires_grad=True)
    loss = contrastive_loss(alone, torch.tensor([0, 1]))
    loss.backward()
    assert loss.item() == 0.0 and not alone.grad.any()


@pytest.mark.parametrize("classes", [2, 3])
def test_a_logistic_layer_has_a_row_for_every_class(classes: int) -> None:
    vectors = unit(*np.eye(classes).repeat(4, axis=0).tolist())
    labels = np.arange(classes).repeat(4)
    weight, bias = logistic_layer(vectors, labels)
    assert weight.shape == (classes, classes) and bias.shape == (classes,)
    assert ((vectors @ weight.T + bias).argmax(axis=1) == labels).all()


def test_contrastive_tuning_draws_classes_together(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe("intent", strategy="contrastive", **{**FEW, "max_steps": 30})
    model, job = job_of(recipe, tmp_path)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trained = fit_by_strategy(model, job)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {n for n in before if ".embeddings." not in n}
    assert trained.best_dev == 1.0
    assert dev_scorer(job.task, job.dev, recipe)(model)[1] == 1.0


# Examples


def test_fewer_examples_are_among_more(make_recipe: MakeRecipe) -> None:
    def texts(count: int, seed: int = 7) -> set[str]:
        recipe = make_recipe("intent", examples_per_class=count, data_seed=seed)
        return {row.text for row in load_data(recipe)["train"]}

    all_rows = texts(0)
    assert texts(1) < texts(2) < texts(5) < all_rows
    assert len(texts(1)) == 4 and len(texts(5)) == 20  # three teams, and texts out of scope
    assert texts(2, seed=8) != texts(2)


def test_a_row_of_several_labels_comes_with_each(make_recipe: MakeRecipe) -> None:
    rows = {
        count: set(load_data(make_recipe("tags", examples_per_class=count))["train"])
        for count in (1, 3)
    }
    assert rows[1] < rows[3]
    for label in ("billing", "angry"):
        assert sum(label in row.labels for row in rows[3]) >= 3


def test_dev_and_test_rows_stay_whole(make_recipe: MakeRecipe) -> None:
    few, whole = (load_data(make_recipe("intent", examples_per_class=n)) for n in (1, 0))
    assert few["dev"] == whole["dev"] and few["test"] == whole["test"]


def test_one_example_a_class_is_no_reason_to_warn(recwarn: pytest.WarningsRecorder) -> None:
    weight, _ = logistic_layer(np.eye(4), np.arange(4))
    assert (np.eye(4) @ weight.T).argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert not recwarn.list
