"""Checkpoints to adapters and back: what comes out answers as what went in."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model

from export.adapter import pack, read_card, read_record, unpack
from services.errors import ArtifactError, TransferError
from tests.export.models import description, save, write_checkpoint, write_mlm_base
from tests.unpickling import forbid_unpickling
from training.layers import head_names
from training.models import build_student, load_model
from training.strategies.freezing import PEFT_TASKS

KINDS = ("sequence-classification", "question-answering", "sentence-extraction")
IDS = torch.tensor([[2, 45, 350, 61, 788, 90, 3]])


def outputs_of(kind, folder):
    """All logits of a checkpoint for one short text, in one row."""
    model = load_model(kind, folder).eval()
    with torch.inference_mode():
        found = model(input_ids=IDS, attention_mask=torch.ones_like(IDS))
    return torch.cat([array.flatten() for array in found.to_tuple()])


def round_trip(checkpoint, tmp_path, rank=0):
    adapter = pack(checkpoint, tmp_path / "adapters" / "tiny" / "full", rank)
    return adapter, unpack(adapter, tmp_path / "again")


def lora_checkpoint(folder, base, kind, whole_head=True):
    """As LoRA training leaves it: PEFT's own files in `adapter/`, merged weights beside."""
    described = description(base, kind)
    torch.manual_seed(1)
    config = LoraConfig(task_type=PEFT_TASKS[kind], target_modules="all-linear", r=4)
    plain = load_model(kind, base, described.labels)
    config.modules_to_save = head_names(plain) if whole_head else None
    model = get_peft_model(plain, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder / "adapter")
    return save(folder, model.merge_and_unload(), described)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["bert", "bert-mlm", "distilbert"])
def test_a_full_model_comes_back(bases, tmp_path, family, kind):
    checkpoint = write_checkpoint(tmp_path / "c", bases[family], kind)
    adapter, again = round_trip(checkpoint, tmp_path)
    assert (outputs_of(kind, again) - outputs_of(kind, checkpoint)).abs().max() < 0.02
    assert read_record(adapter)["method"] == "int8"


@pytest.mark.parametrize("family", ["bert", "bert-mlm", "distilbert"])
@pytest.mark.parametrize("layers", [(), (0, 2)])
def test_a_mean_pooled_classifier_comes_back(bases, tmp_path, family, layers):
    kind = "sequence-classification"
    checkpoint = write_checkpoint(
        tmp_path / "c", bases[family], kind, layers=layers, pooling="mean"
    )
    _, again = round_trip(checkpoint, tmp_path)
    assert type(load_model(kind, again)) is type(load_model(kind, checkpoint))
    assert (outputs_of(kind, again) - outputs_of(kind, checkpoint)).abs().max() < 0.1


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_student_comes_back(bases, tmp_path, family):
    kind = "sequence-classification"
    checkpoint = write_checkpoint(tmp_path / "c", bases[family], kind, layers=(0, 2))
    _, again = round_trip(checkpoint, tmp_path)
    assert load_model(kind, again).num_parameters() == load_model(kind, checkpoint).num_parameters()
    assert (outputs_of(kind, again) - outputs_of(kind, checkpoint)).abs().max() < 0.05


@pytest.mark.parametrize("family", ["bart", "t5"])
def test_an_encoder_decoder_comes_back(bases, tmp_path, family):
    torch.manual_seed(5)
    base = load_model("seq2seq", bases[family])
    student = build_student(base, [0])
    described = description(bases[family], "seq2seq", role="distilled", layers=[0])
    checkpoint = save(tmp_path / "c", student, described)
    adapter, again = round_trip(checkpoint, tmp_path)
    # Nothing was trained, so nothing is stored and everything comes from the base.
    assert (adapter / "delta.safetensors").stat().st_size < 1000
    found = load_model("seq2seq", again).state_dict()
    for name, tensor in student.state_dict().items():
        assert torch.equal(found[name], tensor), name


def test_low_rank_brings_back_a_low_rank_change(bases, tmp_path):
    kind = "question-answering"
    described = description(bases["bert"], kind)
    torch.manual_seed(3)
    model = load_model(kind, bases["bert"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "encoder" in name:
                rows, columns = parameter.shape
                parameter.add_(0.05 * torch.randn(rows, 2) @ torch.randn(2, columns))
    checkpoint = save(tmp_path / "c", model, described)
    adapter, again = round_trip(checkpoint, tmp_path, rank=2)
    whole = pack(checkpoint, tmp_path / "adapters" / "whole")
    assert read_record(adapter)["method"] == "svd-2"
    size, full = ((a / "delta.safetensors").stat().st_size for a in (adapter, whole))
    assert size < 0.5 * full
    assert (outputs_of(kind, again) - outputs_of(kind, checkpoint)).abs().max() < 0.1


def test_a_lora_ships_in_pefts_own_format(bases, tmp_path):
    kind = "sequence-classification"
    checkpoint = lora_checkpoint(tmp_path / "c", bases["bert"], kind)
    adapter, again = round_trip(checkpoint, tmp_path)
    assert read_record(adapter)["method"] == "lora"
    assert not (adapter / "delta.safetensors").exists()
    assert torch.allclose(outputs_of(kind, again), outputs_of(kind, checkpoint), atol=1e-4)


def test_an_adapter_comes_back_without_a_pickle(bases, tmp_path, monkeypatch):
    kind = "sequence-classification"
    whole = pack(write_checkpoint(tmp_path / "c", bases["bert"], kind), tmp_path / "whole")
    lora = pack(lora_checkpoint(tmp_path / "l", bases["bert"], kind), tmp_path / "lora")
    tried = forbid_unpickling(monkeypatch.setattr)
    monkeypatch.setattr(torch, "load", pickle.loads)  # that raises by now
    for adapter in (whole, lora):
        outputs_of(kind, unpack(adapter, tmp_path / f"{adapter.name}-again"))
    assert tried == []


def test_a_lora_names_its_base_by_id_and_no_path(bases, tmp_path):
    base = bases["bert"]
    checkpoint = lora_checkpoint(tmp_path / "c", base, "question-answering")
    shown = json.loads((checkpoint / "checkpoint.json").read_text())
    shown["base"]["id"] = "someone/their-bert"
    (checkpoint / "checkpoint.json").write_text(json.dumps(shown))
    adapter = pack(checkpoint, tmp_path / "adapters" / "tiny" / "full")
    config = (adapter / "adapter_config.json").read_text()
    assert json.loads(config)["base_model_name_or_path"] == "someone/their-bert"
    assert str(base) not in config


def test_a_lora_whose_files_lack_a_part_of_the_head_ships_as_a_difference(bases, tmp_path):
    kind = "sequence-classification"
    checkpoint = lora_checkpoint(tmp_path / "c", bases["bert-mlm"], kind, whole_head=False)
    adapter, again = round_trip(checkpoint, tmp_path)
    assert read_record(adapter)["method"] == "int8"
    assert torch.allclose(outputs_of(kind, again), outputs_of(kind, checkpoint), atol=0.02)


def test_the_checkpoint_is_complete_and_the_adapter_small(bases, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", bases["bert"], "question-answering")
    adapter, again = round_trip(checkpoint, tmp_path)
    names = {path.name for path in again.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert (again / "checkpoint.json").read_bytes() == (checkpoint / "checkpoint.json").read_bytes()
    assert json.loads((again / "metrics.json").read_text()) == read_card(adapter)
    sizes = ((adapter / "delta.safetensors"), (checkpoint / "model.safetensors"))
    assert sizes[0].stat().st_size < 0.35 * sizes[1].stat().st_size


def test_packing_again_leaves_nothing_of_the_old_adapter(bases, tmp_path):
    out = tmp_path / "adapters" / "tiny" / "full"
    pack(lora_checkpoint(tmp_path / "l", bases["bert"], "question-answering"), out)
    pack(write_checkpoint(tmp_path / "c", bases["bert"], "question-answering"), out)
    assert {path.name for path in out.iterdir()} == {
        "adapter.json",
        "card.json",
        "checkpoint.json",
        "delta.safetensors",
    }


@pytest.fixture
def adapter(bases, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", bases["bert"], "sequence-classification")
    return pack(checkpoint, tmp_path / "adapters" / "tiny" / "full")


@pytest.mark.parametrize("position", [10, -1])
def test_a_flipped_byte_is_refused_by_the_name_of_the_file(adapter, tmp_path, position):
    weights = adapter / "delta.safetensors"
    content = bytearray(weights.read_bytes())
    content[position] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"delta\.safetensors has sha256 .* adapter\.json says"):
        unpack(adapter, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "name", ["adapter.json", "card.json", "delta.safetensors", "checkpoint.json"]
)
def test_a_missing_file_is_named(adapter, tmp_path, name):
    (adapter / name).unlink()
    with pytest.raises(TransferError, match=name.replace(".", r"\.")):
        unpack(adapter, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"method": "int8"}'])
def test_a_record_that_is_none_is_refused(adapter, content):
    (adapter / "adapter.json").write_text(content)
    with pytest.raises(ArtifactError, match="is not a complete adapter"):
        read_record(adapter)


def test_another_base_is_refused(adapter, bases, tmp_path):
    other = write_mlm_base(tmp_path / "other", bases["bert"])
    described = json.loads((adapter / "checkpoint.json").read_text())
    described["base_source"] = str(other)
    (adapter / "checkpoint.json").write_text(json.dumps(described))
    with pytest.raises(ArtifactError, match="belongs to a base with sha256") as caught:
        unpack(adapter, tmp_path / "again")
    assert described["base"]["sha256"][:16] in str(caught.value)
    assert not (tmp_path / "again").exists()


def test_a_base_that_changed_since_the_training_is_refused_when_packing(bases, tmp_path):
    base = shutil.copytree(bases["bert"], tmp_path / "base")
    checkpoint = write_checkpoint(tmp_path / "c", base, "question-answering")
    write_mlm_base(base, bases["bert"])
    with pytest.raises(ArtifactError, match="belongs to a base with sha256"):
        pack(checkpoint, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_weights_that_do_not_fit_the_model_are_one_error(adapter, tmp_path):
    described = json.loads((adapter / "checkpoint.json").read_text())
    described["layers"] = [0]
    (adapter / "checkpoint.json").write_text(json.dumps(described))
    with pytest.raises(ArtifactError, match=r"layer\.1"):
        unpack(adapter, tmp_path / "again")


def test_an_unfinished_checkpoint_is_not_packed(bases, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "c", bases["bert"], "question-answering")
    (checkpoint / "metrics.json").unlink()
    with pytest.raises(TransferError, match="not a finished checkpoint"):
        pack(checkpoint, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_a_folder_that_is_no_checkpoint_is_not_packed(tmp_path):
    with pytest.raises(TransferError, match=r"checkpoint\.json cannot be read"):
        pack(tmp_path, tmp_path / "adapter")
