"""Parameters from the input to the output, for every architecture that is trained here."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.layers import depth, layer_groups
from training.models import load_model

CLASSIFIER = "sequence-classification"


@pytest.mark.parametrize(
    ("name", "kind", "layers", "head"),
    [
        ("bert", CLASSIFIER, 4, {"bert.pooler", "classifier"}),
        ("bert", "question-answering", 4, {"qa_outputs"}),
        ("distilbert", CLASSIFIER, 4, {"pre_classifier", "classifier"}),
        ("bart", "seq2seq", 6, set()),
        ("t5", "seq2seq", 8, set()),
    ],
)
def test_every_parameter_is_in_one_group(
    name: str, kind: str, layers: int, head: set[str], bases: dict[str, Path]
) -> None:
    model = load_model(kind, bases[name], ["a", "b"])
    groups = layer_groups(model)
    assert depth(model) == layers
    names = [name for group in groups for name in group]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert {n.removesuffix(".weight").removesuffix(".bias").removesuffix(".dense") for n in
            groups[-1]} == head  # fmt: skip
    assert all("embed" in n or "shared" in n for n in groups[0])


def test_a_decoder_stands_behind_its_encoder(bases: dict[str, Path]) -> None:
    groups = layer_groups(load_model("seq2seq", bases["bart"]))
    assert ["encoder" in names[0] for names in groups[1:-1]] == [True] * 2 + [False] * 4


def test_layers_are_in_their_order(bases: dict[str, Path]) -> None:
    groups = layer_groups(load_model(CLASSIFIER, bases["bert"], ["a", "b"]))
    for number, names in enumerate(groups[1:-1]):
        assert all(name.startswith(f"bert.encoder.layer.{number}.") for name in names)
