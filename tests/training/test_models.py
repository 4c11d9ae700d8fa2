"""Loading, running, and building students from chosen layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from services.errors import UsageError
from services.windows import TextTokenizer, Window
from training.models import (
    TorchRunner,
    build_student,
    count_parameters,
    load_model,
    model_inputs,
    refuse_too_long,
    start_at_frequencies,
    thinned,
    token_batches,
)
from training.recipe import Recipe

# base -> (kind, where its layers are)
FAMILIES = {
    "bert": ("sequence-classification", "bert.encoder.layer"),
    "distilbert": ("question-answering", "distilbert.transformer.layer"),
    "bart": ("seq2seq", "model.decoder.layers"),
    "t5": ("seq2seq", "decoder.block"),
}
TEXTS = ["one", "the red machine stops now", "water", "a lamp and a key and a front of it"]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, bases: dict[str, Path]) -> tuple[str, Any, str]:
    kind, layers = FAMILIES[request.param]
    torch.manual_seed(1)
    return request.param, load_model(kind, bases[request.param]).eval(), layers


def inputs_of(model: Any) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 900, (2, 9), generator=torch.Generator().manual_seed(3))
    return {"input_ids": ids} | (
        {"decoder_input_ids": ids[:, :5]} if model.config.is_encoder_decoder else {}
    )


def first_output(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**inputs_of(model))[0]


def test_a_student_with_all_layers_is_its_teacher(family: tuple[str, Any, str]) -> None:
    _, teacher, _ = family
    student = build_student(teacher, [0, 1, 2, 3])
    assert torch.equal(first_output(student), first_output(teacher))


@pytest.mark.parametrize("layers", [[0, 2], [1, 3], [3]])
def test_a_student_has_the_chosen_layers_of_its_teacher(
    family: tuple[str, Any, str], layers: list[int]
) -> None:
    _, teacher, where = family
    student = build_student(teacher, layers)
    ours, theirs = student.get_submodule(where), teacher.get_submodule(where)
    assert len(ours) == len(layers)
    for new, old in enumerate(layers):
        state = theirs[old].state_dict()
        for name, tensor in ours[new].state_dict().items():
            if "relative_attention_bias" not in name:  # T5 keeps one, in its first layer
                assert torch.equal(tensor, state[name])
    assert count_parameters(student) < count_parameters(teacher)
    assert torch.isfinite(first_output(student)).all()


def test_a_student_keeps_everything_that_is_no_layer(family: tuple[str, Any, str]) -> None:
    _, teacher, where = family
    student, state = build_student(teacher, [1, 3]).state_dict(), teacher.state_dict()
    outside = [name for name in state if not name.startswith(where)]
    assert outside and all(torch.equal(student[name], state[name]) for name in outside)


def test_a_student_without_the_first_t5_layer_keeps_the_relative_positions(tiny_t5: Path) -> None:
    teacher = load_model("seq2seq", tiny_t5)
    name = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    student = build_student(teacher, [2, 0])
    assert torch.equal(student.state_dict()[name], teacher.state_dict()[name])


def test_a_student_generates_as_its_teacher_was_told_to(tiny_bart: Path) -> None:
    teacher = load_model("seq2seq", tiny_bart)
    teacher.generation_config.update(num_beams=3, max_length=7, no_repeat_ngram_size=2)
    told = build_student(teacher, [0]).generation_config
    assert (told.num_beams, told.max_length, told.no_repeat_ngram_size) == (3, 7, 2)


@pytest.mark.parametrize("name", ["gpt2", "modernbert", "deberta", "roberta"])
def test_every_family_has_students(name: str, families: dict[str, Path]) -> None:
    teacher = load_model("sequence-classification", families[name], ["a", "b"]).eval()
    teacher.config.pad_token_id = teacher.config.pad_token_id or 0
    same = build_student(teacher, [0, 1])
    student = build_student(teacher, [0])
    assert torch.equal(first_output(same), first_output(teacher))
    assert student.config.num_hidden_layers == 1
    assert count_parameters(student) < count_parameters(teacher)
    assert torch.isfinite(first_output(student)).all()


def modernbert(layers: int) -> Any:
    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    config = hf.ModernBertConfig(
        **small, num_hidden_layers=layers, local_attention=4, reference_compile=False
    )
    return hf.ModernBertForSequenceClassification(config).eval()


@pytest.mark.parametrize("layers", [[0, 3, 6], [0, 1, 2, 3], [0, 2, 5, 6], [0, 1], [0]])
def test_modernbert_layers_read_as_far_as_in_their_teacher(layers: list[int]) -> None:
    teacher = modernbert(7)
    student = build_student(teacher, layers)
    for new, old in enumerate(layers):
        ours, theirs = student.model.layers[new], teacher.model.layers[old]
        assert ours.attn.local_attention == theirs.attn.local_attention
        assert torch.equal(ours.mlp.Wi.weight, theirs.mlp.Wi.weight)


@pytest.mark.parametrize("layers", [[1, 2], [3, 6], [0, 3, 4, 6]])
def test_modernbert_layers_that_would_read_otherwise_are_refused(layers: list[int]) -> None:
    with pytest.raises(UsageError, match="layer of every 3 reads"):
        build_student(modernbert(7), layers)


def test_a_student_is_the_same_after_saving(tiny_bert: Path, tmp_path: Path) -> None:
    teacher = load_model("sequence-classification", tiny_bert, ["a", "b"])
    student = build_student(teacher, [0, 3])
    student.save_pretrained(tmp_path)
    again = load_model("sequence-classification", tmp_path)
    assert again.config.num_hidden_layers == 2
    assert again.config.id2label == {0: "a", 1: "b"}
    assert torch.equal(first_output(again), first_output(student))


@pytest.mark.parametrize("layers", [[], [4], [-1], [1, 1]])
def test_layers_that_the_teacher_has_not_are_refused(
    family: tuple[str, Any, str], layers: list[int]
) -> None:
    with pytest.raises(UsageError, match="expected different layers of 0 to 3"):
        build_student(family[1], layers)


def test_thinned_counts_the_layers_not_their_parts() -> None:
    state = {
        f"decoder.block.{i}.layer.{j}.x.weight": torch.tensor(i) for i in range(3) for j in (0, 1)
    }
    state["encoder.block.2.layer.0.x.weight"] = torch.tensor(9)
    kept = {name: int(value) for name, value in thinned(state, [0, 2], "decoder.").items()}
    assert kept == {
        "decoder.block.0.layer.0.x.weight": 0,
        "decoder.block.0.layer.1.x.weight": 0,
        "decoder.block.1.layer.0.x.weight": 2,
        "decoder.block.1.layer.1.x.weight": 2,
        "encoder.block.2.layer.0.x.weight": 9,
    }


# Loading


def test_heads_have_the_size_of_their_job(tiny_bert: Path) -> None:
    classifier = load_model("sequence-classification", tiny_bert, ["x", "y", "z"])
    assert classifier.config.id2label == {0: "x", 1: "y", 2: "z"}
    assert first_output(classifier).shape == (2, 3)
    assert first_output(load_model("sentence-extraction", tiny_bert)).shape == (2, 9, 1)
    assert first_output(load_model("question-answering", tiny_bert)).shape == (2, 9)


def test_a_base_that_was_a_classifier_gets_a_new_head(tiny_bert: Path, tmp_path: Path) -> None:
    load_model("sequence-classification", tiny_bert, list("abcde")).save_pretrained(tmp_path)
    assert first_output(load_model("sequence-classification", tmp_path, list("ab"))).shape == (2, 2)
    assert first_output(load_model("question-answering", tmp_path)).shape == (2, 9)


def test_inputs_are_those_that_the_model_takes(bases: dict[str, Path]) -> None:
    bert = load_model("sequence-classification", bases["bert"])
    distilbert = load_model("sequence-classification", bases["distilbert"])
    assert model_inputs(bert) == ["input_ids", "attention_mask", "token_type_ids"]
    assert model_inputs(distilbert) == ["input_ids", "attention_mask"]


def test_windows_longer_than_the_base_reads_are_refused(bases: dict[str, Path]) -> None:
    recipe = Recipe(name="x", kind="seq2seq", base="mine", max_tokens=300)
    with pytest.raises(UsageError, match="max_tokens is 300; the base mine reads at most 256"):
        refuse_too_long(load_model("seq2seq", bases["bart"]), recipe)
    refuse_too_long(load_model("seq2seq", bases["t5"]), recipe)  # relative positions


# Running


def windows_of(tokenizer: TextTokenizer) -> list[Window]:
    return [
        window
        for text in TEXTS
        for window in tokenizer.single(tokenizer.tokens(text), max_tokens=32, stride=4)
    ]


@pytest.mark.parametrize("base", ["bert", "distilbert"])
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("sequence-classification", ["logits"]),
        ("question-answering", ["start_logits", "end_logits"]),
        ("sentence-extraction", ["logits"]),
        ("zero-shot", ["last_hidden_state"]),
    ],
)
def test_a_runner_gives_every_window_its_own_unpadded_outputs_in_order(
    base: str, kind: str, names: list[str], bases: dict[str, Path], tokenizer: TextTokenizer
) -> None:
    model = load_model(kind, bases[base])
    windows = windows_of(tokenizer)
    together = TorchRunner(model, kind, tokenizer.pad_id, batch_tokens=40)(windows)
    for window, output in zip(windows, together, strict=True):
        (alone,) = TorchRunner(model, kind, tokenizer.pad_id)([window])
        assert list(output) == names
        for name in names:
            assert np.abs(output[name] - alone[name]).max() < 1e-5
            if kind != "sequence-classification":
                assert len(output[name]) == len(window)


def test_a_runner_leaves_the_model_in_the_mode_it_was_in(
    tiny_bert: Path, tokenizer: TextTokenizer
) -> None:
    model = load_model("sequence-classification", tiny_bert)
    runner = TorchRunner(model, "sequence-classification", 0)
    for training in (True, False):
        model.train(training)
        first, second = runner(windows_of(tokenizer)), runner(windows_of(tokenizer))
        assert model.training is training
        assert all(
            np.array_equal(a["logits"], b["logits"]) for a, b in zip(first, second, strict=True)
        )


def test_batches_hold_all_windows_once_and_stay_below_the_limit() -> None:
    lengths = [3, 50, 7, 7, 20, 1, 90, 4]
    batches = token_batches(lengths, 40)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 40


def test_no_windows_are_no_batches() -> None:
    assert token_batches([], 40) == []


def test_parameters_are_counted_by_whether_they_move(tiny_bert: Path) -> None:
    model = hf.BertModel.from_pretrained(tiny_bert)
    every = count_parameters(model)
    model.embeddings.requires_grad_(False)
    still = sum(p.numel() for p in model.embeddings.parameters())
    assert count_parameters(model, trainable=True) == every - still


def test_a_classifier_starts_at_the_frequencies_of_its_labels(tiny_bert: Path) -> None:
    model = load_model("sequence-classification", tiny_bert, ["a", "b", "c"])
    with torch.no_grad():
        model.classifier.weight.zero_()
    start_at_frequencies(model, [0.5, 0.1, 0.02])
    ids = torch.tensor([[2, 7, 3]])
    shown = torch.sigmoid(model.eval()(input_ids=ids).logits[0])
    assert shown.tolist() == pytest.approx([0.5, 0.1, 0.02], abs=1e-5)
