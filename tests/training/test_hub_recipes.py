"""Recipes for hub bases: each parses, and runs on a tiny base of its own architecture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from services.tasks.qa import AnswerQuestions
from services.windows import TextTokenizer
from tests.tiny_families import FAMILIES, family
from training.checkpoint import read_description, task_of
from training.data import load_data
from training.distill import distill
from training.evaluate import evaluate, run
from training.finetune import finetune
from training.metrics.writing import write_summaries
from training.models import TorchRunner, load_model
from training.recipe import RECIPES, Recipe, load_recipe, preset_name

PRESETS = sorted(map(preset_name, (RECIPES / "hub").glob("*.yaml")))
TRAINED = [name for name in PRESETS if not name.endswith("-distilled")]
DATA = {
    "sequence-classification": ("tickets.jsonl", "{label: team}"),
    "question-answering": ("manuals.json", "{}"),
    "seq2seq": ("summaries.jsonl", "{}"),
}
SHORT = (
    *("splits={}", "data_config=", "dev_rows=0", "max_tokens=64", "stride=16", "batch_size=4"),
    *("accumulate=1", "max_steps=2", "evaluations=1", "max_target_tokens=12"),
)
Tiny = Callable[..., Recipe]


@pytest.fixture(scope="module")
def tiny(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """tiny("hub/gpt2-sst2"): that recipe with two steps, tiny data and a tiny base."""
    made: dict[str, Path] = {}

    def recipe(name: str, *more: str) -> Recipe:
        plain = load_recipe(name)
        base = family(plain.base, made, lambda: tmp_path_factory.mktemp("family"))
        file, columns = DATA[plain.kind]
        data = f"data={data_folder / file}"
        return load_recipe(name, [*SHORT, f"base={base}", data, f"columns={columns}", *more])

    return recipe


def test_there_are_recipes_for_every_family() -> None:
    assert len(PRESETS) >= 12
    assert {load_recipe(name).base for name in PRESETS} == set(FAMILIES)
    kinds = {name: load_recipe(name).kind for name in PRESETS}
    for family_name in ("bert", "distilbert", "modernbert", "xlmr"):
        mine = {kind for name, kind in kinds.items() if name.startswith(f"hub/{family_name}-")}
        assert mine == {"sequence-classification", "question-answering"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_opens_with_its_command_and_names_its_source(name: str) -> None:
    verb = "distill" if name.endswith("-distilled") else "train"
    first = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert f"{first} ".startswith(f"# transfer {verb} {name} ")
    recipe = load_recipe(name)
    assert recipe.data and recipe.data_licence and recipe.data_attribution
    assert bool(recipe.student_layers) == (verb == "distill")


@pytest.mark.parametrize("name", TRAINED)
def test_every_recipe_trains_and_its_checkpoint_answers_as_it_was_scored(
    name: str, tiny: Tiny, tmp_path: Path
) -> None:
    recipe = tiny(name)
    out = finetune(recipe, tmp_path / "out", progress=False)
    tested = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert tested["train"]["steps"] == 2
    family_of = AutoConfig.from_pretrained(recipe.base).model_type
    assert AutoConfig.from_pretrained(out).model_type == family_of
    rows = load_data(recipe)["test"]
    if recipe.kind == "seq2seq":
        texts, losses = write_summaries(out, rows)
        assert len(texts) == len(rows) and np.isfinite(losses).all()
        return
    description = read_description(out)
    task = task_of(description, TextTokenizer.load(out / "tokenizer.json"))
    infer = TorchRunner(load_model(recipe.kind, out), recipe.kind, task.tokenizer.pad_id)
    # DeBERTa's compiled attention differs in its last bits from run to run, and the spans of a
    # reader of two steps are close to each other.
    close = 0.1 if isinstance(task, AnswerQuestions) else 1e-6
    assert evaluate(task, rows, infer).value == pytest.approx(tested["test"]["value"], abs=close)
    if isinstance(task, AnswerQuestions):
        for row, item, outputs in zip(rows, *run(task, rows, infer), strict=True):
            found = task.decode(item, outputs, threshold=0.0)
            assert row.context[found["start"] : found["end"]] == found["answer"]
            assert found["answer"] == found["answer"].strip()


def test_the_student_of_a_hub_recipe_learns_from_its_teacher(tiny: Tiny, tmp_path: Path) -> None:
    teacher = finetune(tiny("hub/bart-cnn"), tmp_path / "teacher", progress=False)
    recipe = tiny("hub/bart-cnn-distilled", "student_layers=[0, 2]")
    out = distill(recipe, teacher, tmp_path / "student", progress=False)
    assert AutoConfig.from_pretrained(out).decoder_layers == 2


# Decoders as classifiers


def test_a_decoder_reads_the_last_token_whatever_pads_behind_it(tiny: Tiny, tmp_path: Path) -> None:
    out = finetune(tiny("hub/gpt2-sst2"), tmp_path / "out", progress=False)
    model = load_model("sequence-classification", out).eval()
    tokenizer = TextTokenizer.load(out / "tokenizer.json")
    assert model.config.pad_token_id == tokenizer.pad_id == 0
    ids = torch.tensor([tokenizer.tokens("the parcel has not come").ids])
    padded = torch.nn.functional.pad(ids, (0, 5), value=tokenizer.pad_id)
    mask = (torch.arange(padded.shape[1]) < ids.shape[1]).long()[None]
    with torch.inference_mode():
        alone = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        behind = model(input_ids=padded, attention_mask=mask).logits
        other = model(input_ids=ids[:, :-1], attention_mask=torch.ones_like(ids[:, :-1])).logits
    assert torch.allclose(alone, behind, atol=1e-5)
    assert not torch.allclose(alone, other, atol=1e-5)


def test_a_decoder_takes_several_labels_although_its_head_has_no_bias(
    tiny: Tiny, data_folder: Path, tmp_path: Path
) -> None:
    more = ("multi_label=true", f"data={data_folder / 'tags.csv'}", "columns={}")
    out = finetune(tiny("hub/gpt2-sst2", *more), tmp_path / "out", progress=False)
    assert read_description(out).labels == ["angry", "billing"]
