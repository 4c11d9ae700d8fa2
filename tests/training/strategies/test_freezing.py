"""After a step exactly the parameters that the strategy names have moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import training.recipe_checks
from services.errors import UsageError
from training.layers import layer_groups
from training.models import load_model, start_at_frequencies, unwrapped
from training.recipe import Recipe
from training.strategies import STRATEGIES, apply_strategy, head_names

FAMILIES = ["bert", "distilbert", "roberta", "deberta", "modernbert", "gpt2", "bart", "t5"]
KINDS = ["sequence-classification", "question-answering", "sentence-extraction"]
IDS = torch.randint(5, 900, (4, 9), generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=["bert", "distilbert"])
def base(request: pytest.FixtureRequest, bases: dict[str, Path]) -> Path:
    return bases[request.param]


def load(base: Path, kind: str) -> Any:
    torch.manual_seed(1)
    return load_model(kind, base, ["a", "b", "c"] if kind == KINDS[0] else [])


def moved(model: Any, steps: int = 2) -> set[str]:
    """Names of the parameters that some steps change."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        output = model(input_ids=IDS)
        logits = [t for name, t in output.items() if "logits" in name]
        sum((tensor**2).sum() + tensor.sum() for tensor in logits).backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}


def recipe(kind: str, strategy: str, **changes: Any) -> Recipe:
    return Recipe(name="x", kind=kind, strategy=strategy, **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_head_moves_the_head_alone(base: Path, kind: str) -> None:
    model = apply_strategy(load(base, kind), recipe(kind, "head"))
    heads = ("classifier", "pre_classifier", "qa_outputs", "bert.pooler")
    expected = {name for name, _ in model.named_parameters() if name.startswith(heads)}
    assert moved(model) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_full_moves_everything(base: Path, kind: str) -> None:
    model = apply_strategy(load(base, kind), recipe(kind, "full", freeze_embeddings=False))
    assert moved(model) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_full_with_frozen_embeddings_moves_everything_else(base: Path, kind: str) -> None:
    model = apply_strategy(load(base, kind), recipe(kind, "full", freeze_embeddings=True))
    expected = {name for name, _ in model.named_parameters() if ".embeddings." not in name}
    assert moved(model) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 3, 4])
def test_last_n_moves_the_last_layers_and_the_head(base: Path, kind: str, layers: int) -> None:
    model = apply_strategy(load(base, kind), recipe(kind, "last_n", last_layers=layers))
    kept = [f".layer.{number}." for number in range(4 - layers)]
    expected = {
        name
        for name, _ in model.named_parameters()
        if ".embeddings." not in name and not any(part in name for part in kept)
    }
    assert moved(model) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2])
def test_reinit_top_draws_the_last_layers_anew_and_moves_all(
    base: Path, kind: str, layers: int
) -> None:
    plain, model = load(base, kind), load(base, kind)
    torch.manual_seed(5)
    model = apply_strategy(model, recipe(kind, "reinit_top", reinit_layers=layers))
    ours, theirs = model.state_dict(), plain.state_dict()
    fresh = tuple(f".layer.{3 - number}." for number in range(layers))
    for name, tensor in theirs.items():
        if name.endswith("weight") and "orm" not in name:  # norms start at 1 in either
            new = any(part in name for part in (*fresh, "pooler"))
            assert torch.equal(ours[name], tensor) is not new, name
    assert moved(model) == {n for n, _ in model.named_parameters() if ".embeddings." not in n}


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        *((family, KINDS[0]) for family in FAMILIES),
        *((family, "seq2seq") for family in ("bart", "t5")),
    ],
)
def test_reinit_top_draws_as_the_family_is_drawn(
    family: str, kind: str, families: dict[str, Path]
) -> None:
    """The last layer and a pooler are new and about 0; nothing else is."""
    model = load(families[family], kind)
    with torch.no_grad():  # as if pretraining had taken them far from where they began
        for parameter in model.parameters():
            parameter.add_(1.0)
    learned = {name: p.detach().clone() for name, p in model.named_parameters()}
    *_, top, head = layer_groups(model)
    model = apply_strategy(model, recipe(kind, "reinit_top", freeze_embeddings=False))
    now = dict(model.named_parameters())
    drawn = {name for name in now if not torch.equal(now[name], learned[name])}
    assert drawn == {*top, *(name for name in head if ".pooler." in name)}
    assert all(float(now[name].detach().mean().abs()) < 0.5 for name in top if now[name].ndim == 2)


def test_reinit_top_keeps_the_bias_that_knows_how_rare_the_labels_are(base: Path) -> None:
    model = load(base, KINDS[0])
    start_at_frequencies(model, [0.5, 0.01, 0.2])
    model = apply_strategy(model, recipe(KINDS[0], "reinit_top"))
    assert torch.sigmoid(model.classifier.bias).tolist() == pytest.approx([0.5, 0.01, 0.2])


def test_reinit_top_keeps_an_output_layer_that_is_not_tied(tiny_t5: Path) -> None:
    """FLAN-T5's lies behind the last layer, and no layer brings it along."""
    model = load_model("seq2seq", tiny_t5, tie_word_embeddings=False)
    learned = model.lm_head.weight.detach().clone()
    model = apply_strategy(model, recipe("seq2seq", "reinit_top", freeze_embeddings=False))
    assert torch.equal(model.lm_head.weight, learned)


@pytest.mark.parametrize(
    ("strategy", "key"), [("last_n", "last_layers"), ("reinit_top", "reinit_layers")]
)
def test_more_layers_than_there_are_is_refused(base: Path, strategy: str, key: str) -> None:
    with pytest.raises(UsageError, match=rf"{key} is 5; the base has 4 layers"):
        apply_strategy(load(base, KINDS[0]), recipe(KINDS[0], strategy, **{key: 5}))


def test_a_recipe_can_name_every_strategy_and_no_other() -> None:
    assert set(training.recipe_checks.STRATEGIES) == set(STRATEGIES)


@pytest.mark.parametrize("kind", KINDS)
def test_lora_moves_its_low_rank_parts_and_the_head(base: Path, kind: str) -> None:
    model = apply_strategy(load(base, kind), recipe(kind, "lora", lora_dropout=0.0))
    changed = moved(model)
    assert changed == {
        name for name, _ in model.named_parameters() if "lora_" in name or "modules_to_save" in name
    }
    layers = {name for name in changed if "lora_A" in name}
    per_layer = 6  # query, key, value, output of attention; both of the feed-forward part
    assert len(layers) == 4 * per_layer


def test_the_head_is_what_no_base_brings_along(bases: dict[str, Path]) -> None:
    bert = load_model(KINDS[0], bases["bert"], ["a", "b"])
    distilbert = load_model(KINDS[0], bases["distilbert"], ["a", "b"])
    assert head_names(bert) == ["classifier", "pooler"]
    assert head_names(distilbert) == ["pre_classifier", "classifier"]
    assert head_names(load_model(KINDS[1], bases["bert"])) == ["qa_outputs"]


@pytest.mark.parametrize("kind", KINDS)
def test_scratch_draws_everything_anew_but_the_new_head(base: Path, kind: str) -> None:
    model = load(base, kind)
    fresh = apply_strategy(model, recipe(kind, "scratch"))
    assert moved(fresh) == {name for name, _ in model.named_parameters()}
    theirs, ours = model.state_dict(), apply_strategy(model, recipe(kind, "scratch")).state_dict()
    heads = ("classifier", "pre_classifier", "qa_outputs")
    for name, tensor in theirs.items():
        if name.endswith("weight") and "LayerNorm" not in name and "layer_norm" not in name:
            assert torch.equal(ours[name], tensor) is name.startswith(heads), name


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_scratch_of_a_generator_keeps_its_shape_and_how_it_writes(
    name: str, bases: dict[str, Path], make_recipe: Callable[..., Recipe]
) -> None:
    model = load(bases[name], "seq2seq")
    model.generation_config.update(num_beams=3)
    torch.manual_seed(5)
    fresh = apply_strategy(model, make_recipe("dialogue", name, strategy="scratch"))
    assert fresh.generation_config.num_beams == 3
    assert fresh.get_output_embeddings().weight is fresh.get_input_embeddings().weight
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {key: tensor.shape for key, tensor in fresh.state_dict().items()} == shapes
    learned = model.get_input_embeddings().weight
    assert not torch.equal(fresh.get_input_embeddings().weight, learned)
    torch.manual_seed(5)
    again = apply_strategy(model, make_recipe("dialogue", name, strategy="scratch"))
    ours = fresh.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in again.state_dict().items())


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_seq2seq_moves_in_full_or_by_lora(
    name: str, bases: dict[str, Path], make_recipe: Callable[..., Recipe]
) -> None:
    full = apply_strategy(load(bases[name], "seq2seq"), make_recipe("dialogue", name))
    assert all(p.requires_grad for p in full.parameters())
    tuned = apply_strategy(
        load(bases[name], "seq2seq"), make_recipe("dialogue", name, strategy="lora")
    )
    moving = {n for n, p in tuned.named_parameters() if p.requires_grad}
    assert moving and all("lora_" in n for n in moving)
    assert unwrapped(tuned) is not tuned
