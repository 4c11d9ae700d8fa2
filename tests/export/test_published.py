"""The published form: 151 classes, sizes, and times beside a BERT-base of the same run."""

from __future__ import annotations

import pytest

import export.published
from export.publish import publish, write_lock
from export.published import PUBLISHED, REFERENCE, bert_base, measure_published, table, timed
from services.errors import UsageError
from tests.services import tiny
from training.rows import LabelledText

ROWS = [
    LabelledText("send money", ("transfer_money",)),
    LabelledText("freeze my card", ("freeze_card",)),
    LabelledText("my balance", ("freeze_card",)),  # wrong
    LabelledText("the card", ("oos",)),  # it abstains: right
    LabelledText("send the bill", ("oos",)),  # it does not: wrong
]


@pytest.fixture
def lock(home, tmp_path):
    tags = {
        f"{model}/{variant}": publish(
            tiny.write_variant(tmp_path / model / variant, model, variant)
        )
        for model, variant in (("intent", "distilled-int8"), ("intent", "full"), ("reader", "full"))
    }
    write_lock(tmp_path / "lock.json", tags)
    return tmp_path / "lock.json"


@pytest.fixture
def record(lock, monkeypatch):
    monkeypatch.setattr(export.published, "bert_base", lambda labels: lambda text: None)
    return measure_published(lock, ROWS, "oos", timed_texts=3)


def test_abstaining_is_the_last_class(record):
    assert [row["name"] for row in record["variants"]] == ["full", "distilled-int8"]
    for row in record["variants"]:
        assert (row["value"], row["n"]) == (pytest.approx(3 / 5), 5)
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert row["size_mb"] >= 0
    assert record["texts_timed"] == 3


def test_times_are_ratios_to_the_same_run(record):
    reference = record["bert_base_random_weights"]["p50_ms"]
    for row in record["variants"]:
        assert row["ratio_to_bert_base"] == pytest.approx(row["p50_ms"] / reference)
    theirs = {row["name"]: row["ratio_to_bert_base"] for row in record["published"]}
    assert theirs[REFERENCE] == 1
    assert set(theirs) == set(PUBLISHED)


def test_the_table_shows_ours_and_theirs(record):
    lines = table({**record, "environment": {"cpu": "Some CPU", "cores": 2}}).splitlines()
    assert lines[2].startswith("| `intent/full` | 0.600 | 0.200 to 1.000 |")
    assert any(line.startswith("| published: BERT-base (PyTorch) | 0.867 |") for line in lines)
    assert "5 test rows" in lines[-1]
    assert "Some CPU, 2 cores" in lines[-1]


def test_all_take_turns_at_each_text():
    order = []
    calls = {name: lambda text, name=name: order.append((text, name)) for name in ("a", "b")}
    found = timed(calls, ["x", "y"])
    assert order[-4:] == [("x", "a"), ("x", "b"), ("y", "a"), ("y", "b")]
    assert set(found["a"]) == {"p50_ms", "p95_ms"}


def test_without_the_model_there_is_nothing_to_report(home, tmp_path):
    tag = publish(tiny.write_variant(tmp_path / "reader", "reader", "full"))
    write_lock(tmp_path / "lock.json", {"reader/full": tag})
    with pytest.raises(UsageError, match="No variant of intent is published"):
        measure_published(tmp_path / "lock.json", ROWS, "oos")


@pytest.mark.slow
def test_the_reference_has_the_shape_of_bert_base():
    call = bert_base(151)
    assert sum(p.numel() for p in call.model.parameters()) == pytest.approx(109.6e6, rel=0.01)
    assert call("where is my card")[0]["label"].startswith("LABEL_")
