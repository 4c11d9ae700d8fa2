"""A generator grown from an encoder: the same encoder, a decoder of its layers, a plain BART."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoTokenizer, BartForConditionalGeneration

from export.to_onnx import to_onnx
from services.errors import UsageError
from tests.training.tiny_data import summaries, write_jsonl
from training.bases import EMBEDDED, resolve
from training.checkpoint import read_description
from training.data import load_data
from training.distill import distill
from training.finetune import finetune
from training.grow import grow
from training.models import load_model
from training.recipe import Recipe, load_recipe
from training.seq2seq import generate

MakeRecipe = Callable[..., Recipe]
TEXTS = [
    "The pump of line 4 failed at noon.",
    "It was a calm day. People had lunch, and nobody saw the warning lamp of the second machine.",
    "Why?",
]


@pytest.fixture(params=["tiny", EMBEDDED])
def base(request: pytest.FixtureRequest, tiny_bert: Path) -> Path:
    return tiny_bert if request.param == "tiny" else resolve(EMBEDDED).path


def recipe_with(layers: list[int], **changes: Any) -> Recipe:
    return Recipe(name="x", kind="seq2seq", base="mine", decoder_layers=layers, **changes)


def encoded(base: Path, model: Any) -> tuple[Tensor, Tensor]:
    """What BERT in `base` says of the texts and what the model's encoder does: real tokens."""
    batch = AutoTokenizer.from_pretrained(base)(TEXTS, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad():
        theirs = load_model("zero-shot", base).eval()(input_ids=ids, attention_mask=mask)
        ours = model.eval().get_encoder()(input_ids=ids, attention_mask=mask)
    real = mask.bool()
    assert not real.all()
    return theirs.last_hidden_state[real], ours.last_hidden_state[real]


def with_epsilon(model: Any, epsilon: float) -> Any:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = epsilon
    return model


# The model


def test_the_encoder_says_what_bert_says(base: Path) -> None:
    model = with_epsilon(
        grow(base, recipe_with([0])), load_model("zero-shot", base).config.layer_norm_eps
    )
    theirs, ours = encoded(base, model)
    assert (theirs - ours).abs().max() < 1e-5


def test_the_epsilon_that_bart_fixes_moves_the_encoder_by_less_than_a_hundredth(
    base: Path, tmp_path: Path
) -> None:
    grow(base, recipe_with([0])).save_pretrained(tmp_path)
    theirs, ours = encoded(base, BartForConditionalGeneration.from_pretrained(tmp_path))
    assert (theirs - ours).abs().max() < 0.01
    assert torch.cosine_similarity(theirs, ours).min() > 0.9999


def test_the_decoder_is_made_of_the_named_layers_in_their_order(tiny_bert: Path) -> None:
    model = grow(tiny_bert, recipe_with([3, 1]))
    assert (model.config.encoder_layers, model.config.decoder_layers) == (4, 2)
    for ours, theirs in zip(model.model.decoder.layers, (3, 1), strict=True):
        seed = model.model.encoder.layers[theirs]
        for part in ("self_attn", "self_attn_layer_norm", "fc1", "fc2", "final_layer_norm"):
            for name, tensor in seed.get_submodule(part).state_dict().items():
                assert torch.equal(ours.get_submodule(part).state_dict()[name], tensor), part


def test_cross_attention_is_copied_from_self_attention_or_random(tiny_bert: Path) -> None:
    copied, random = (
        grow(tiny_bert, recipe_with([2], cross_attention=way)).model.decoder.layers[0]
        for way in ("copied", "random")
    )
    for name, tensor in copied.self_attn.state_dict().items():
        assert torch.equal(copied.encoder_attn.state_dict()[name], tensor)
    assert not torch.equal(random.encoder_attn.q_proj.weight, random.self_attn.q_proj.weight)
    assert torch.equal(random.encoder_attn_layer_norm.weight, torch.ones(32))
    assert torch.equal(random.fc1.weight, copied.fc1.weight)


def test_words_and_the_output_layer_share_their_weights(tiny_bert: Path, tmp_path: Path) -> None:
    grow(tiny_bert, recipe_with([0])).save_pretrained(tmp_path)
    model = BartForConditionalGeneration.from_pretrained(tmp_path)
    shared = model.get_input_embeddings().weight
    assert model.lm_head.weight is shared
    assert model.model.encoder.embed_tokens.weight is shared
    assert model.model.decoder.embed_tokens.weight is shared
    theirs = load_file(tiny_bert / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert torch.equal(shared, theirs)


def test_it_writes_with_the_tokens_of_its_tokenizer(tiny_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    model = grow(tiny_bert, recipe_with([0], max_target_tokens=20))
    for config in (model.config, model.generation_config):
        assert config.decoder_start_token_id == config.bos_token_id == tokenizer.cls_token_id
        assert config.eos_token_id == tokenizer.sep_token_id
        assert config.pad_token_id == tokenizer.pad_token_id
    writing = model.generation_config
    assert (writing.num_beams, writing.no_repeat_ngram_size, writing.early_stopping) == (4, 3, True)
    assert (writing.max_length, writing.forced_eos_token_id) == (21, None)


def test_dropout_is_the_base_s_or_the_recipe_s(tiny_bert: Path) -> None:
    plain = grow(tiny_bert, recipe_with([0])).config
    assert (plain.dropout, plain.attention_dropout) == (0.1, 0.1)
    told = grow(tiny_bert, recipe_with([0], dropout=0.0, attention="eager")).config
    assert (told.dropout, told.attention_dropout) == (0.0, 0.0)
    assert told._attn_implementation == "eager"


def test_a_saved_one_is_a_bart_that_writes_the_same(tiny_bert: Path, tmp_path: Path) -> None:
    recipe = recipe_with([0, 2], max_target_tokens=12)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    model = grow(tiny_bert, recipe)
    model.save_pretrained(tmp_path)
    again = load_model("seq2seq", tmp_path)
    assert type(again) is BartForConditionalGeneration
    assert again.generation_config.to_dict() == model.generation_config.to_dict()
    for beams in (1, 4):
        written = generate(model, tokenizer, TEXTS, recipe, beams)
        assert generate(again, tokenizer, TEXTS, recipe, beams) == written


def test_its_graphs_write_the_same_tokens_as_torch(tiny_bert: Path, tmp_path: Path) -> None:
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    model = grow(tiny_bert, recipe_with([0, 3])).eval()
    served = ORTModelForSeq2SeqLM.from_pretrained(
        to_onnx(model, "seq2seq", tiny_bert / "tokenizer.json", tmp_path), use_cache=True
    )
    for text in TEXTS:
        batch = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        options = {**batch, "max_new_tokens": 12, "num_beams": 1, "early_stopping": False}
        with torch.inference_mode():
            expected = model.generate(**options)
        assert served.generate(**options).tolist() == expected.tolist()


@pytest.mark.parametrize("layers", [[4], [-1, 0]])
def test_layers_that_the_base_has_not_are_refused(tiny_bert: Path, layers: list[int]) -> None:
    with pytest.raises(UsageError, match="mine has layers 0 to 3"):
        grow(tiny_bert, recipe_with(layers))


@pytest.mark.parametrize("name", ["distilbert", "bart", "t5"])
def test_a_base_that_is_no_bert_is_refused(name: str, bases: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=f"mine is a {name}; a decoder grows from a BERT"):
        grow(bases[name], recipe_with([0]))


# The training


@pytest.fixture(scope="module")
def grown(make_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    recipe = make_recipe("dialogue", "bert", decoder_layers=[0, 1, 3], new_tokens=["No.", "Halden"])
    out = tmp_path_factory.mktemp("grown") / "full"
    return recipe, finetune(recipe, out, progress=False)


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


def test_a_checkpoint_says_what_it_grew_from(grown: tuple[Recipe, Path], tiny_bert: Path) -> None:
    _, folder = grown
    described = read_description(folder)
    assert (described.kind, described.task, described.role) == ("seq2seq", "summarize", "full")
    assert described.base["sha256"] == resolve(str(tiny_bert)).sha256
    assert load_model("seq2seq", folder).config.decoder_layers == 3
    assert "Halden" in AutoTokenizer.from_pretrained(folder).get_added_vocab()
    assert {"lead_3", "textrank"} == metrics(folder)["baselines"].keys()


def test_training_makes_the_summaries_likelier(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(
        "dialogue", "bert", decoder_layers=[0, 3], max_steps=30, evaluations=1, dropout=0.0
    )
    folder = finetune(recipe, tmp_path / "out", progress=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    row = load_data(recipe)["train"][0]
    ids = tokenizer(row.text, return_tensors="pt").input_ids
    labels = tokenizer(text_target=row.references[0], return_tensors="pt").input_ids[:, 1:]
    losses = []
    for model in (grow(Path(recipe.base), recipe), load_model("seq2seq", folder)):
        with torch.no_grad():
            losses.append(model.eval()(input_ids=ids, labels=labels).loss.item())
    assert losses[1] < 0.7 * losses[0]


def test_a_student_keeps_half_of_the_decoder_and_the_control_grows_too(
    grown: tuple[Recipe, Path], tmp_path: Path
) -> None:
    recipe, teacher = grown
    out = distill(replace(recipe, student_layers=[0, 2]), teacher, tmp_path / "out", progress=False)
    for folder in (out, out / "without-teacher"):
        student = load_model("seq2seq", folder)
        assert (student.config.encoder_layers, student.config.decoder_layers) == (4, 2)
        full = load_model("seq2seq", teacher).get_input_embeddings()
        assert student.get_input_embeddings().weight.shape == full.weight.shape
    assert metrics(out)["distillation"]["without_teacher"]["steps"] == 4


def test_the_control_without_transfer_has_the_same_shape(
    grown: tuple[Recipe, Path], tmp_path: Path
) -> None:
    recipe, folder = grown
    control = replace(recipe, strategy="scratch")
    out = finetune(control, tmp_path / "out", progress=False)
    ours, theirs = metrics(out)["train"], metrics(folder)["train"]
    assert (ours["strategy"], ours["parameters"]) == ("scratch", theirs["parameters"])
    assert ours["parameters_trained"] == ours["parameters"]


def test_a_training_goes_on_from_a_grown_checkpoint(
    grown: tuple[Recipe, Path], tmp_path: Path
) -> None:
    recipe, folder = grown
    further = replace(recipe, start=str(folder), max_steps=1, evaluations=1, learning_rate=1e-9)
    out = finetune(further, tmp_path / "out", progress=False)
    before, after = (load_file(path / "model.safetensors") for path in (folder, out))
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_the_recipe_of_dialogues_takes_any_texts_with_summaries(
    tiny_bert: Path, tmp_path: Path
) -> None:
    rows = [{"document": row["text"], "summary": row["references"][0]} for row in summaries()]
    data = write_jsonl(tmp_path / "mine.jsonl", rows)
    recipe = load_recipe(
        "dialogsum",
        [
            f"data={data}",
            f"base={tiny_bert}",
            "columns={text: document, references: summary}",
            "decoder_layers=[0, 3]",
            "max_tokens=64",
            "max_steps=2",
            "evaluations=1",
            "bf16=false",
        ],
    )
    out = finetune(recipe, tmp_path / "out", progress=False)
    assert metrics(out)["train"]["rows"] + metrics(out)["test"]["n"] < len(rows)
    assert metrics(out)["test"]["metric"] == "rouge1"


@pytest.mark.parametrize("name", ["dialogsum", "dialogsum-distilled", "dialogsum-scratch"])
def test_the_shipped_recipes_differ_in_what_they_compare_alone(name: str) -> None:
    full, recipe = load_recipe("dialogsum"), load_recipe(name)
    same = (
        "base",
        "data",
        "columns",
        "decoder_layers",
        "new_tokens",
        "max_tokens",
        "label_smoothing",
    )
    assert all(getattr(full, key) == getattr(recipe, key) for key in same)
    assert recipe.strategy == ("scratch" if name.endswith("scratch") else "full")
    assert len(recipe.student_layers) == (3 if name.endswith("distilled") else 0)
