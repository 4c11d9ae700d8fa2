"""Which parameters really move in a training, and how far the first step takes each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.strategies.test_freezing import FAMILIES
from training.bases import resolve
from training.checkpoint import describe, task_of
from training.data import load_data
from training.features import features
from training.finetune import class_names, save_tokenizer, trainable_rows
from training.models import load_model
from training.rates import learning_rates, parameter_groups, slanted_triangular
from training.recipe import Recipe
from training.seq2seq import finetune_seq2seq
from training.strategies import apply_strategy
from training.strategies.job import Job, fit_steps

MakeRecipe = Callable[..., Recipe]
NEW = ("classifier", "pre_classifier", "classification_head", "head", "pooler", "score")
FIRST = 1e-3  # the rate of what is named, in these tests


def job_of(recipe: Recipe, out: Path) -> tuple[Any, Job]:
    """A model that the strategy has prepared, and the rest of its training."""
    splits, base = load_data(recipe), resolve(recipe.base)
    labels = class_names(recipe, splits)
    task = task_of(describe(recipe, base, labels), save_tokenizer(base.path, out))
    torch.manual_seed(recipe.seed)
    model = load_model(recipe.kind, base.path, labels, recipe.pooling)
    rows = trainable_rows(splits["train"], recipe) if labels else splits["train"]
    windows = features(task, rows)
    job = Job(recipe, task, windows, splits["dev"], out, base.sha256, out / "features")
    return apply_strategy(model, recipe), job


def first_step(recipe: Recipe, out: Path) -> dict[str, float]:
    """Name -> how far the first step of Adam moves it: its rate, where there is a gradient."""
    model, job = job_of(recipe, out)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    fit_steps(model, job)
    return {
        name: float((p.detach() - before[name]).abs().max()) for name, p in model.named_parameters()
    }


def settings(**changes: Any) -> dict[str, Any]:
    plain = {"max_steps": 1, "warmup_ratio": 0.0, "weight_decay": 0.0, "schedule": "linear"}
    return {**plain, "evaluations": 1, "learning_rate": FIRST, "dropout": 0.0, **changes}


def layer_of(name: str) -> int:
    return int(name.split("layer.")[1].split(".")[0])


def _faint(name: str) -> bool:
    """Attention's weights before training: gradients near Adam's epsilon, steps that fall short."""
    return ".query." in name or ".key." in name


@pytest.mark.parametrize("job", ["intent", "highlights"])
def test_layers_learn_slower_the_deeper_they_lie(
    job: str, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe(
        job, **settings(strategy="discriminative", layer_decay=2.0, head_learning_rate=4 * FIRST)
    )
    moved = first_step(recipe, tmp_path)
    for name, distance in moved.items():
        if ".embeddings." in name:
            assert distance == 0.0, name
        elif ".layer." in name and not _faint(name):
            assert distance == pytest.approx(FIRST / 2 ** (3 - layer_of(name)), rel=0.02), name
        elif name.startswith(("classifier", "qa_outputs")):
            assert distance == pytest.approx(4 * FIRST, rel=0.02), name


def test_embeddings_learn_slowest_where_they_are_not_frozen(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe(
        "intent",
        **settings(strategy="discriminative", layer_decay=2.0, freeze_embeddings=False),
    )
    moved = first_step(recipe, tmp_path)
    assert moved["bert.embeddings.word_embeddings.weight"] == pytest.approx(FIRST / 16, rel=0.02)
    assert moved["classifier.weight"] == pytest.approx(FIRST, rel=0.02)


@pytest.mark.parametrize("strategy", ["full", "last_n", "reinit_top"])
def test_others_learn_at_one_rate(strategy: str, make_recipe: MakeRecipe, tmp_path: Path) -> None:
    moved = first_step(make_recipe("intent", **settings(strategy=strategy)), tmp_path)
    for name, distance in moved.items():
        frozen = ".embeddings." in name or (
            strategy == "last_n" and ".layer." in name and layer_of(name) < 2
        )
        if frozen:
            assert distance == 0.0, name
        elif not _faint(name):
            assert distance == pytest.approx(FIRST, rel=0.02), name


def test_a_slanted_training_begins_at_a_thirty_second(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    plain = settings(strategy="discriminative", layer_decay=1.0)
    moved = first_step(make_recipe("intent", **{**plain, "schedule": ""}), tmp_path)
    assert moved["classifier.weight"] == pytest.approx(FIRST / 32, rel=0.02)


@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 1 / 32), (5, 0.5 + 1 / 64), (10, 1.0), (55, 0.5 + 1 / 64), (100, 1 / 32)],
)
def test_a_slanted_triangle_rises_fast_and_falls_slowly(step: int, share: float) -> None:
    assert slanted_triangular(step, 100, 0.1) == pytest.approx(share)


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 1.0])
def test_a_short_training_has_rates_too(steps: int, ratio: float) -> None:
    shares = [slanted_triangular(step, steps, ratio) for step in range(steps + 1)]
    assert all(1 / 32 <= share <= 1.0 for share in shares)


def test_new_layers_may_learn_faster_than_pretrained_ones(tiny_bert: Path) -> None:
    model = load_model("sequence-classification", tiny_bert, ["a", "b"])
    recipe = Recipe(
        name="x", kind="sequence-classification", learning_rate=1e-4, head_learning_rate=1e-3
    )
    groups = parameter_groups(model, recipe, decaying={"classifier.weight"})
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert rates["classifier.weight"] == (1e-3, 0.01)
    assert rates["classifier.bias"] == (1e-3, 0.0)
    assert {rate for name, rate in rates.items() if name.startswith("bert.")} == {(1e-4, 0.0)}
    assert len(rates) == len(names)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")  # PEFT mends it for GPT-2's own layers
@pytest.mark.parametrize("strategy", ["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_new_layers_have_their_rate_in_every_family(
    family: str, strategy: str, families: dict[str, Path]
) -> None:
    kind = "sequence-classification"
    recipe = Recipe(
        name="x", kind=kind, strategy=strategy, learning_rate=1e-4, head_learning_rate=1e-2
    )
    model = load_model(kind, families[family], ["a", "b"])
    head = {name for name, _ in model.named_parameters() if name.split(".")[0] in NEW}
    rates = {
        name.removeprefix("base_model.model.").replace(".modules_to_save.default", ""): rate
        for name, rate in learning_rates(apply_strategy(model, recipe), recipe).items()
    }
    assert {name for name, rate in rates.items() if rate == 1e-2} == head
    assert {rate for name, rate in rates.items() if name not in head} == {1e-4}


@pytest.mark.parametrize("strategy", ["full", "lora", "discriminative"])
def test_a_pooler_that_the_base_brings_along_learns_like_the_base(
    strategy: str, tiny_bert: Path
) -> None:
    kind = "sequence-classification"
    recipe = Recipe(
        name="x", kind=kind, strategy=strategy, learning_rate=1e-4, head_learning_rate=1e-2
    )
    model = apply_strategy(load_model(kind, tiny_bert, ["a", "b"]), recipe)
    rates = learning_rates(model, recipe)
    assert {rate for name, rate in rates.items() if ".pooler." in name} == {1e-4}


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_a_generator_has_rates_by_layers(
    name: str, bases: dict[str, Path], make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("dialogue", name, strategy="discriminative", layer_decay=2.0, max_steps=1)
    model = apply_strategy(load_model("seq2seq", bases[name]), recipe)
    rates = learning_rates(model, recipe)
    last = max(rates, key=lambda name: (rates[name], name))
    assert "decoder" in last and rates[last] == recipe.learning_rate
    assert min(rates.values()) < recipe.learning_rate / 2**5
    finetune_seq2seq(recipe, tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "metrics.json").is_file()
