"""Cached features: the same answers as through the encoder, which reads each text once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.windows import TextTokenizer
from tests.training.test_rates import job_of
from training.dev_score import dev_scorer
from training.features import to_tensors
from training.finetune import finetune
from training.models import TorchRunner, load_model, model_inputs
from training.recipe import Recipe
from training.strategies import cached_head as module
from training.strategies import fit_by_strategy
from training.strategies.cached import encoder_states, replayed, what_the_head_reads
from training.strategies.cached_head import HeadRunner

MakeRecipe = Callable[..., Recipe]
CLASSIFIER = "sequence-classification"
TEXTS = ["the parcel is late", "send it", "a lamp that is green when it is ready to rinse"]


@pytest.mark.parametrize(
    ("base", "kind", "pooling", "kept"),
    [
        ("bert", CLASSIFIER, "", "first"),
        ("distilbert", CLASSIFIER, "", "first"),
        ("bert", CLASSIFIER, "mean", "mean"),
        ("distilbert", CLASSIFIER, "mean", "mean"),
        ("bert", "question-answering", "", "all"),
        ("bert", "sentence-extraction", "", "all"),
    ],
)
def test_a_head_answers_from_states_as_with_its_encoder(
    base: str,
    kind: str,
    pooling: str,
    kept: str,
    bases: dict[str, Path],
    tmp_path: Path,
) -> None:
    labels = ["a", "b", "c"] if kind == CLASSIFIER else []
    model = load_model(kind, bases[base], labels, pooling).eval()
    tokenizer = TextTokenizer.load(bases[base] / "tokenizer.json")
    windows = [tokenizer.single(tokenizer.tokens(text), 64, 16)[0] for text in TEXTS]
    pad = tokenizer.pad_id
    assert what_the_head_reads(model, kind) == kept
    expected = TorchRunner(model, kind, pad)(windows)
    states = encoder_states(model, kind, windows, pad, tmp_path, "digest")
    with replayed(model) as replay:
        assert sum(p.numel() for p in model.parameters()) < 20_000
        found = HeadRunner(model, replay, states, kind, pad)(windows)
    for one, other in zip(found, expected, strict=True):
        for name in expected[0]:
            np.testing.assert_allclose(one[name], other[name], atol=2e-5)
    feeds = to_tensors(windows, pad, model_inputs(model))
    assert torch.isfinite(next(iter(model(**feeds).values()))).all()  # the encoder is back


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows the encoder read, each time it did."""
    counts: list[int] = []
    plain = TorchRunner.__call__

    def counting(self: TorchRunner, windows: Any) -> Any:
        if type(self) is TorchRunner and self.outputs == ("last_hidden_state",):
            counts.append(len(windows))
        return plain(self, windows)

    monkeypatch.setattr(TorchRunner, "__call__", counting)
    return counts


def test_features_are_computed_once_for_base_rows_and_tokens(
    make_recipe: MakeRecipe, tmp_path: Path, runs: list[int]
) -> None:
    recipe = make_recipe("intent", strategy="head", max_steps=8, evaluations=4)
    cache = tmp_path / "cache"

    def train(name: str, recipe: Recipe, identity: str = "") -> int:
        before = sum(runs)
        model, job = job_of(recipe, tmp_path / name)
        job = replace(job, cache=cache, identity=identity or job.identity)
        fit_by_strategy(model, job)
        return sum(runs) - before

    _, job = job_of(recipe, tmp_path / "windows")
    every = len(job.windows) + len(job.dev)
    assert train("one", recipe) == every
    assert train("other rate", replace(recipe, learning_rate=1e-2)) == 0
    assert train("other seed", replace(recipe, seed=8, data_seed=recipe.rows_seed)) == 0
    assert train("other base", recipe, identity="another") == every
    assert train("other rows", replace(recipe, train_rows=9)) in range(1, 10)  # dev stays
    assert train("other tokens", replace(recipe, max_tokens=16, stride=2)) in range(2 * every)
    assert train("other precision", replace(recipe, bf16=True)) == every


def test_the_head_moves_alone_and_learns(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(
        "intent", strategy="head", pooling="mean", max_steps=60, learning_rate=1e-2
    )
    model, job = job_of(recipe, tmp_path)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    score = dev_scorer(job.task, job.dev, recipe)
    untrained = score(model)[1]
    trained = fit_by_strategy(model, job)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"classifier.weight", "classifier.bias"}
    assert score(model)[1] == pytest.approx(trained.best_dev)
    assert trained.best_dev > untrained
    assert trained.steps == 60


@pytest.mark.parametrize("job", ["tags", "reader", "highlights"])
def test_every_kind_has_a_head(job: str, make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(job, strategy="head", max_steps=4)
    model, prepared = job_of(recipe, tmp_path)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit_by_strategy(model, prepared)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all(n.startswith(("classifier", "qa_outputs", "bert.pooler")) for n in moved)


def test_features_that_fill_the_disk_are_not_kept(
    make_recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    finetune(make_recipe("highlights", strategy="head", max_steps=2), tmp_path / "out", False)
    assert "would fill" in capsys.readouterr().err
    assert (tmp_path / "out" / "metrics.json").is_file()


def test_nothing_of_the_features_stays_in_the_checkpoint(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    out = finetune(make_recipe("intent", strategy="head", max_steps=2), tmp_path / "out", False)
    assert not (out / "steps").exists()
    finetune(
        make_recipe("intent", strategy="head", max_steps=2),
        tmp_path / "shared",
        False,
        cache=tmp_path / "cache",
    )
    assert list((tmp_path / "cache").glob("*/done"))


# Two stages


def test_the_second_stage_starts_with_a_head_that_knows_its_classes(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(
        "intent",
        strategy="two_stage",
        max_steps=2,
        evaluations=1,
        head_epochs=30.0,
        head_learning_rate=1e-2,
        pooling="mean",
    )
    model, job = job_of(recipe, tmp_path)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    between: dict[str, torch.Tensor] = {}
    plain = module.fit_steps

    def watched(model: Any, job: Any) -> Any:
        between.update({name: p.detach().clone() for name, p in model.named_parameters()})
        assert job.recipe == recipe
        return plain(model, job)

    monkeypatch.setattr(module, "fit_steps", watched)
    trained = fit_by_strategy(model, job)
    first = {n for n, p in between.items() if not torch.equal(p, before[n])}
    assert first == {"classifier.weight", "classifier.bias"}
    second = {n for n, p in model.named_parameters() if not torch.equal(p, between[n])}
    assert second == {n for n in before if ".embeddings." not in n}
    assert trained.steps == 2
