"""The card for people says what `card.json` says, and how to make the adapter again."""

from __future__ import annotations

import pytest

from export.card import LIMITS, card_text
from export.variants import QUALITY_FIELDS
from tests.export.models import QUALITY, description, metrics
from training.checkpoint import write_json

CARD = {
    **metrics("sequence-classification", 1234567),
    "quality": {"fp32": {**QUALITY, "macro_f1": 0.7654}, "int8": {**QUALITY, "value": 0.79}},
    "int8_loss": {"value": 0.01, "ci_low": -0.002, "ci_high": 0.021},
}
DISTILLATION = {
    "teacher": {"value": 0.85},
    "share_of_teacher": 0.941,
    "student_layers": [0, 2],
    "without_teacher": {"value": 0.75},
    "gain_over_without_teacher": {"value": 0.05, "ci_low": 0.01, "ci_high": 0.09},
}


@pytest.fixture
def card_of(bases, tmp_path):
    def make(card, kind="sequence-classification", method="int8", **changes):
        (tmp_path / "delta.safetensors").write_bytes(b"x" * 1_500_000)
        from services.manifest import sha256_of

        record = {"method": method, "weights": "delta.safetensors"}
        digest = sha256_of(tmp_path / "delta.safetensors")
        write_json(tmp_path / "adapter.json", {**record, "sha256": digest})
        return card_text(tmp_path, description(bases["bert"], kind, **changes), card)

    return make


def test_it_names_data_licence_training_and_size(card_of):
    text = card_of(CARD, attribution="Some data, Doe 2020", licence="CC-BY-3.0")
    assert text.startswith("# tiny, full\n")
    for fact in (
        "Some data, Doe 2020 (CC-BY-3.0), 10 training rows",
        "full, seed 7",
        "1,234,567",
        "1 min on 2 CPU threads, 1,000 tokens/s",
        "int8, 1.5 MB",
        "1111111111111111",
    ):
        assert fact in text


def test_it_shows_the_quality_of_both_precisions_with_intervals(card_of):
    text = card_of(CARD)
    assert "| fp32 | accuracy | 0.8000 | 0.7000 to 0.9000 | 40 |" in text
    assert "| int8 | accuracy | 0.7900 | 0.7000 to 0.9000 | 40 |" in text
    assert "int8 loses 0.0100 (-0.0020 to 0.0210" in text
    assert "Also: macro_f1 0.7654." in text


def test_it_says_what_the_model_cannot_do(card_of):
    for kind, limits in LIMITS.items():
        assert limits in card_of(CARD, kind)


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.05, 0.01, 0.09), "Distillation won: +0.0500 (+0.0100 to +0.0900, paired"),
        ((-0.05, -0.09, -0.01), "Distillation lost: -0.0500 (-0.0900 to -0.0100, paired"),
        ((0.01, -0.01, 0.03), "These rows do not tell whether distillation helped: +0.0100 ("),
        ((-0.01, -0.03, 0.01), "These rows do not tell whether distillation helped: -0.0100 ("),
    ],
)
def test_it_claims_of_distillation_what_the_interval_allows(card_of, gain, said):
    found = dict(zip(("value", "ci_low", "ci_high"), gain, strict=True))
    distillation = {**DISTILLATION, "gain_over_without_teacher": found}
    text = card_of({**CARD, "distillation": distillation}, role="distilled")
    assert "Layers [0, 2] of the teacher; 94.1% of the teacher's 0.8500." in text
    assert "The same student without its teacher, at equal steps: 0.7500." in text
    assert said in text


def test_it_says_that_no_control_was_trained(card_of):
    parts = ("teacher", "share_of_teacher", "student_layers")
    alone = {name: DISTILLATION[name] for name in parts}
    text = card_of({**CARD, "distillation": alone}, role="distilled")
    assert "No control was trained" in text
    assert "Distillation" not in card_of(CARD)


def test_baselines_stand_beside_it(card_of):
    text = card_of({**CARD, "baselines": {"lead_1": {"value": 0.3}}}, "sentence-extraction")
    assert "Without training, lead_1: 0.3000." in text


@pytest.mark.parametrize(
    ("role", "method", "command"),
    [
        ("full", "int8", "pack CHECKPOINT adapters/tiny/full data=PATH\n"),
        ("distilled", "svd-64", "pack CHECKPOINT adapters/tiny/distilled data=PATH rank=64"),
    ],
)
def test_its_command_stores_the_same_adapter_again(card_of, role, method, command):
    assert f"    transfer {command}" in card_of(CARD, role=role, method=method)


def test_quality_in_manifests_is_a_part_of_the_quality_in_cards():
    assert set(QUALITY_FIELDS) <= set(QUALITY)
