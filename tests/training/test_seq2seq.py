"""Generated summaries: BART and T5, fine-tuned, shrunk and taught by pseudo-labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, DataCollatorForSeq2Seq, Seq2SeqTrainingArguments

from services.manifest import sha256_of
from training import seq2seq as module
from training.checkpoint import read_description, verdict
from training.data import load_data
from training.distill import distill
from training.finetune import finetune
from training.fit import training_arguments
from training.models import load_model
from training.recipe import Recipe
from training.seq2seq import NO_TOKEN, Pairs, SummaryTrainer, generate, pseudo_labels
from training.strategies import apply_strategy

MakeRecipe = Callable[..., Recipe]
Teachers = Callable[[str, str], Path]
FAMILIES = ["bart", "t5"]


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def students(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def student(base: str) -> Path:
        if base not in made:
            recipe = make_recipe("dialogue", base, student_layers=[0, 3], alpha=0.5)
            out = tmp_path_factory.mktemp(f"{base}-student") / "distilled"
            made[base] = distill(recipe, teachers("dialogue", base), out, progress=False)
        return made[base]

    return student


@pytest.mark.parametrize("base", FAMILIES)
def test_a_checkpoint_is_complete_and_generates(
    base: str, teachers: Teachers, make_recipe: MakeRecipe
) -> None:
    folder, recipe = teachers("dialogue", base), make_recipe("dialogue", base)
    assert {path.name for path in folder.iterdir()} >= {
        "model.safetensors",
        "tokenizer.json",
        "recipe.yaml",
        "checkpoint.json",
        "metrics.json",
    }
    found = metrics(folder)
    rows = load_data(recipe)
    assert (found["test"]["metric"], found["test"]["n"]) == ("rouge1", len(rows["test"]))
    assert (found["train"]["rows"], found["train"]["steps"]) == (len(rows["train"]), 4)
    assert read_description(folder).task == "summarize"
    model, tokenizer = load_model("seq2seq", folder), AutoTokenizer.from_pretrained(folder)
    assert len(generate(model, tokenizer, ["It failed.", "A pump."], recipe)) == 2


@pytest.mark.parametrize("base", FAMILIES)
def test_training_makes_the_summaries_likelier(
    base: str, make_recipe: MakeRecipe, tmp_path: Path, bases: dict[str, Path]
) -> None:
    recipe = make_recipe("dialogue", base, max_steps=15, evaluations=1)
    out = finetune(recipe, tmp_path / "out", progress=False)
    row = load_data(recipe)["train"][0]
    tokenizer = AutoTokenizer.from_pretrained(out)
    batch = tokenizer(row.text, return_tensors="pt")
    labels = tokenizer(text_target=row.references[0], return_tensors="pt")["input_ids"]
    losses = []
    for folder in (bases[base], out):
        model = load_model("seq2seq", folder).eval()
        with torch.no_grad():
            losses.append(model(input_ids=batch["input_ids"], labels=labels).loss.item())
    assert losses[1] < 0.9 * losses[0]


def test_summaries_come_in_the_order_of_the_texts(
    teachers: Teachers, make_recipe: MakeRecipe
) -> None:
    folder, recipe = teachers("dialogue", "bart"), make_recipe("dialogue", "bart", batch_size=2)
    model, tokenizer = load_model("seq2seq", folder), AutoTokenizer.from_pretrained(folder)
    texts = ["The pump.", "It was a calm day in Lyon and people had lunch.", "A seal was worn."]
    together = generate(model, tokenizer, texts, recipe)
    assert together == [generate(model, tokenizer, [text], recipe)[0] for text in texts]


def test_lora_leaves_an_adapter_that_merges_into_the_checkpoint(
    make_recipe: MakeRecipe, tmp_path: Path, tiny_t5: Path
) -> None:
    recipe = make_recipe("dialogue", "t5", strategy="lora", max_steps=2)
    out = finetune(recipe, tmp_path / "out", progress=False)
    plain = load_model("seq2seq", tiny_t5)
    merged = PeftModel.from_pretrained(plain, str(out / "adapter")).merge_and_unload().state_dict()
    for name, tensor in load_file(out / "model.safetensors").items():
        assert torch.allclose(merged[name], tensor, atol=1e-6), name


def test_a_killed_training_ends_as_if_it_had_not_been_killed(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("dialogue", "bart", max_steps=4)
    whole = finetune(recipe, tmp_path / "whole", progress=False)
    plain, scored = module._dev_score, []

    def die(*arguments: Any) -> Any:
        scored.append(1)
        if len(scored) == 2:
            raise KeyboardInterrupt
        return plain(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_dev_score", die)
        finetune(recipe, tmp_path / "killed", progress=False)
    resumed = finetune(recipe, tmp_path / "killed", progress=False)
    assert metrics(resumed)["train"]["resumed_step"] == 2
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


# The loss


@pytest.fixture(params=[*FAMILIES, "lora"])
def trainer(
    request: pytest.FixtureRequest, make_recipe: MakeRecipe, bases: dict[str, Path], tmp_path: Path
) -> tuple[Any, dict[str, torch.Tensor]]:
    """A trainer without smoothing, and a batch whose summaries differ in length."""
    base, strategy = ("bart", "lora") if request.param == "lora" else (request.param, "full")
    recipe = make_recipe("dialogue", base, strategy=strategy)
    tokenizer = AutoTokenizer.from_pretrained(bases[base])
    model = apply_strategy(load_model("seq2seq", bases[base]), recipe).eval()
    pairs = [("The pump failed at noon.", "It failed."), ("Lunch.", "All had lunch at noon there.")]
    data = Pairs(pairs, tokenizer, recipe, model.config.decoder_start_token_id)
    arguments = training_arguments(recipe, tmp_path, 2, False, make=Seq2SeqTrainingArguments)
    collate = DataCollatorForSeq2Seq(tokenizer, model=model, label_pad_token_id=NO_TOKEN)
    made = SummaryTrainer(
        recipe,
        lambda model: None,
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=data,
        data_collator=collate,
    )
    return made, collate([data[0], data[1]])


def test_the_loss_is_the_models_own(trainer: tuple[Any, dict[str, torch.Tensor]]) -> None:
    made, batch = trainer
    assert (batch["labels"] == NO_TOKEN).any()
    theirs = made.model(**batch)
    theirs.loss.backward()
    moving = [p for p in made.model.parameters() if p.requires_grad]
    gradients = [p.grad.clone() for p in moving]
    made.model.zero_grad()
    loss, outputs = made.compute_loss(made.model, batch, return_outputs=True)
    loss.backward()
    assert loss.item() == pytest.approx(theirs.loss.item(), rel=1e-5)
    assert all(torch.allclose(p.grad, g, atol=1e-5) for p, g in zip(moving, gradients, strict=True))
    known = batch["labels"] != NO_TOKEN
    assert torch.allclose(outputs.logits, theirs.logits[known], atol=1e-5)
    assert made.model(**batch).logits.shape == theirs.logits.shape  # outside of it all positions


def test_labels_are_smoothed_over_real_tokens(
    trainer: tuple[Any, dict[str, torch.Tensor]],
) -> None:
    made, batch = trainer
    made.recipe = replace(made.recipe, label_smoothing=0.3)
    scores = torch.log_softmax(made.model(**batch).logits, dim=-1)
    known = batch["labels"] != NO_TOKEN
    right = scores[known].gather(1, batch["labels"][known][:, None]).mean()
    expected = -(0.7 * right + 0.3 * scores[known].mean())
    assert made.compute_loss(made.model, batch).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("start", "dropped"), [("[CLS]", 1), ("[PAD]", 0)])
def test_a_label_that_repeats_the_start_is_dropped(
    start: str, dropped: int, make_recipe: MakeRecipe, tiny_bert: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    known = tokenizer("The pump.").input_ids
    first = tokenizer.convert_tokens_to_ids(start)
    data = Pairs([("Noon.", "The pump.")], tokenizer, make_recipe("dialogue"), first)
    assert data[0]["labels"] == known[dropped:]


# Distilling


@pytest.mark.parametrize("base", FAMILIES)
def test_a_student_keeps_the_encoder_and_some_of_the_decoder(
    base: str, students: Callable[[str], Path], teachers: Teachers
) -> None:
    student = load_model("seq2seq", students(base))
    teacher = load_model("seq2seq", teachers("dialogue", base))
    depth = {"bart": "decoder_layers", "t5": "num_decoder_layers"}[base]
    assert (getattr(student.config, depth), getattr(teacher.config, depth)) == (2, 4)
    described = read_description(students(base))
    assert (described.role, described.layers) == ("distilled", [0, 3])
    assert described.parent == sha256_of(teachers("dialogue", base) / "model.safetensors")


@pytest.mark.parametrize("base", FAMILIES)
def test_the_record_holds_teacher_control_and_pseudo_labels(
    base: str, students: Callable[[str], Path]
) -> None:
    found = metrics(students(base))
    record = found["distillation"]
    assert record["pseudo_labels"] == found["train"]["rows"]
    assert record["without_teacher"]["steps"] == found["train"]["steps"] == 4
    gain = found["test"]["value"] - record["without_teacher"]["value"]
    assert record["gain_over_without_teacher"]["value"] == pytest.approx(gain)
    assert record["verdict"] == verdict(record["gain_over_without_teacher"])
    assert not list(students(base).glob("**/steps"))


def test_the_teacher_writes_its_summaries_once(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("dialogue", "bart")
    rows = load_data(recipe)["dev"]
    folder = teachers("dialogue", "bart")
    model, tokenizer = load_model("seq2seq", folder), AutoTokenizer.from_pretrained(folder)
    first = pseudo_labels(model, tokenizer, rows, recipe, tmp_path, "one")
    assert [text for text, _ in first] == [row.text for row in rows]

    def no_teacher(*arguments: Any, **options: Any) -> Any:
        raise LookupError("the teacher wrote again")

    monkeypatch.setattr(module, "generate", no_teacher)
    assert pseudo_labels(model, tokenizer, rows, recipe, tmp_path, "one") == first
    with pytest.raises(LookupError):
        pseudo_labels(model, tokenizer, rows, recipe, tmp_path, "another teacher")


def test_a_killed_teacher_goes_on_after_the_summaries_that_it_kept(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe("dialogue", "bart")
    rows = load_data(recipe)["train"][:5]
    folder, write, written = teachers("dialogue", "bart"), module.generate, []
    model, tokenizer = load_model("seq2seq", folder), AutoTokenizer.from_pretrained(folder)
    monkeypatch.setattr(module, "PSEUDO_LABELS_KEPT", 2)

    def die(model: Any, tokenizer: Any, texts: list[str], *rest: Any, **options: Any) -> Any:
        written.append(texts)
        if len(written) == 2:
            raise KeyboardInterrupt
        return write(model, tokenizer, texts, *rest, **options)

    monkeypatch.setattr(module, "generate", die)
    with pytest.raises(KeyboardInterrupt):
        pseudo_labels(model, tokenizer, rows, recipe, tmp_path, "one")
    found = pseudo_labels(model, tokenizer, rows, recipe, tmp_path, "one")
    assert [len(texts) for texts in written] == [2, 2, 2, 1]  # the first part is read
    whole = pseudo_labels(model, tokenizer, rows, recipe, tmp_path / "whole", "one")
    assert found == whole
    assert [text for text, _ in found] == [row.text for row in rows]


def test_a_control_can_be_left_out(
    teachers: Teachers, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe("dialogue", "bart", student_layers=[0], max_steps=1)
    out = distill(recipe, teachers("dialogue", "bart"), tmp_path / "out", False, control=False)
    assert "verdict" not in metrics(out)["distillation"]
    assert not (out / "without-teacher").exists()


@pytest.mark.parametrize(("alpha", "people"), [(1.0, 0), (0.5, 10), (0.0, 20)])
def test_alpha_is_the_share_of_the_people_that_the_teacher_replaces(
    alpha: float, people: int
) -> None:
    gold = [(f"text {i}", "people") for i in range(20)]
    pseudo = [(f"text {i}", "teacher") for i in range(20)]
    mixed = module._mixed(gold, pseudo, alpha)
    assert mixed[people:] == pseudo
    assert len({text for text, _ in mixed[:people]}) == people
    assert {summary for _, summary in mixed[:people]} <= {"people"}
    if people == 10:  # from everywhere, not the first half
        assert mixed[people - 1][0] == "text 18"
