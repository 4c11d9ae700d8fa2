"""The release gate, and the card that every published quality comes from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import export.release
from export.adapter import read_card, read_record
from export.measure import in_threads
from export.release import agreement_floor, judge_again, measure_release, release
from export.stamps import find_jobs
from export.verify import GateError
from services.errors import UsageError
from services.runtime import Runtime
from tests.export.models import LABELS, QUALITY, description, write_checkpoint
from tests.services import tiny
from training.checkpoint import read_description, write_description, write_json
from training.data import sample_rows
from training.held_out import Exam, HeldOut
from training.rows import LabelledText

ROWS = [LabelledText(text, (LABELS[i % 4],)) for i, text in enumerate(["a card", "my money"] * 20)]
TRUE = [
    LabelledText(text, (label,))
    for text, label in (
        ("send money", "transfer_money"),
        ("freeze my card", "freeze_card"),
        ("my balance", "check_balance"),
    )
] * 10
HELD = HeldOut(ROWS[:20], Exam("made up", ROWS))


def asked(rows):
    return HeldOut(rows, Exam("made up", rows))


def runtimes(tmp_path, small_table):
    """Two tiny classifiers in folders: the first knows its words, the second those given."""
    job = tiny.JOBS["intent"]
    full = tiny.write_variant(tmp_path / "full", "intent", "full")
    graph = job["make"](small_table)
    return full, tiny.write_variant(tmp_path / "small", "intent", "full-int8", graph=graph)


@pytest.fixture
def intent(bases):
    return description(bases["bert"], "sequence-classification", "intent")


def test_equal_answers_pass_and_are_recorded(tmp_path, intent):
    folders = runtimes(tmp_path, tiny.JOBS["intent"]["table"])
    record = measure_release(folders, intent, asked(TRUE))
    assert record["quality"]["fp32"]["value"] == 1.0
    assert record["quality"]["int8"]["n"] == 30
    assert record["quality"]["int8"]["data"] == "made up"
    assert record["int8_loss"] == {"value": 0.0, "ci_low": 0.0, "ci_high": 0.0}
    assert record["int8_agreement_on_test"] == 1.0


def test_an_int8_that_loses_more_than_a_point_is_refused(tmp_path, intent):
    words = tiny.JOBS["intent"]["table"]
    folders = runtimes(tmp_path, {**words, "freeze": (7.0, 0.0, 0.0)})
    with pytest.raises(GateError, match=r"int8 of intent full loses 0\.333 \[.* at most 0\.01"):
        measure_release(folders, intent, asked(TRUE))


def test_a_loss_that_may_be_chance_passes(tmp_path, intent):
    words = tiny.JOBS["intent"]["table"]
    folders = runtimes(tmp_path, {**words, "stolen": (7.0, 0.0, 0.0)})
    rows = [*TRUE, LabelledText("my card is stolen", ("freeze_card",))]
    record = measure_release(folders, intent, asked(rows))
    assert record["int8_loss"]["value"] > 0.01
    assert record["int8_loss"]["ci_low"] <= 0.01


def test_threads_answer_in_order(tmp_path):
    runtime = Runtime.load(tiny.write_variant(tmp_path / "v"))
    windows = [runtime.task.encode(row.text).windows[0] for row in TRUE]
    alone = [output["logits"].tolist() for output in runtime.infer(windows)]
    assert [output["logits"].tolist() for output in in_threads(runtime)(windows)] == alone
    assert in_threads(runtime)([]) == []


@pytest.mark.parametrize(("measured", "floor"), [(1.0, 0.96), (0.9333333, 0.893), (0.01, 0.0)])
def test_other_machines_may_agree_a_little_less(measured, floor):
    assert agreement_floor(measured) == floor


# The whole of it


@pytest.fixture
def checkpoint(bases, tmp_path):
    return write_checkpoint(tmp_path / "c", bases["bert"], "sequence-classification")


def released(checkpoint, adapter, tmp_path, rank=0):
    return release(checkpoint, adapter, tmp_path / "work", HELD, sample_rows, rank)


def test_what_ships_is_measured_from_its_adapter(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(export.release, "MAX_LOSS", 1.0)  # noise is no training
    adapter = tmp_path / "adapters" / "tiny" / "full"
    card = released(checkpoint, adapter, tmp_path, rank=8)
    assert card == read_card(adapter)
    assert card["test"]["data"] == card["quality"]["fp32"]["data"] == "made up"
    assert card["quality"]["fp32"]["n"] == len(ROWS)
    assert 0 <= card["int8_agreement"] <= 0.96
    assert read_record(adapter)["method"] == "svd-8"
    assert sorted(path.name for path in adapter.iterdir()) == [
        "README.md",
        "adapter.json",
        "card.json",
        "checkpoint.json",
        "delta.safetensors",
    ]
    assert "rank=8" in (adapter / "README.md").read_text()
    assert [job.folder for job in find_jobs(tmp_path / "adapters", ["tiny"])] == [adapter]


def test_a_failed_gate_leaves_the_old_adapter(checkpoint, tmp_path, monkeypatch):
    adapter = tmp_path / "adapters" / "tiny" / "full"
    adapter.mkdir(parents=True)
    (adapter / "card.json").write_text(json.dumps({"old": True}))

    def refuse(*arguments):
        raise GateError("int8 loses too much")

    monkeypatch.setattr(export.release, "measure_release", refuse)
    with pytest.raises(GateError):
        released(checkpoint, adapter, tmp_path)
    assert [path.name for path in adapter.iterdir()] == ["card.json"]
    assert read_card(adapter) == {"old": True}


def test_a_place_of_another_name_is_refused_before_any_work(checkpoint, tmp_path):
    with pytest.raises(UsageError, match=r"adapters/other/full is no place .* tiny/full"):
        released(checkpoint, tmp_path / "adapters" / "other" / "full", tmp_path)
    assert not (tmp_path / "adapters").exists()
    assert not (tmp_path / "work").exists()


# Measured again, without its checkpoint


@pytest.fixture
def shipped(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(export.release, "MAX_LOSS", 1.0)
    adapter = tmp_path / "adapters" / "tiny" / "full"
    released(checkpoint, adapter, tmp_path)
    return adapter


def test_the_decoding_that_ships_is_chosen_for_what_is_rebuilt(shipped, checkpoint):
    before, after = read_description(checkpoint).decoding, read_description(shipped).decoding
    assert before == {"stride": 16, "threshold": 0.1}
    assert after["stride"] == 16
    assert after["temperature"] != 1.0


def test_judged_again_an_adapter_keeps_its_weights_and_what_its_training_said(shipped, tmp_path):
    weights, card = read_record(shipped), read_card(shipped)
    write_json(shipped / "card.json", {**card, "quality": "stale", "also": "stale"})
    described = read_description(shipped)
    stale = {**described.decoding, "temperature": 9.0}
    write_description(shipped, replace(described, decoding=stale))
    again = judge_again(shipped, tmp_path / "work2", HELD, sample_rows)
    assert again == card == read_card(shipped)
    assert read_description(shipped) == described
    assert read_record(shipped) == weights


def test_rows_of_other_data_are_reported_beside_the_test_rows(shipped, tmp_path):
    exam = Exam("other texts", ROWS[:10], baselines={"guess": QUALITY})
    held = replace(HELD, also={"others": exam})
    card = judge_again(shipped, tmp_path / "work2", held, sample_rows)
    found = card["also"]["others"]
    assert (found["data"], found["quality"]["int8"]["n"]) == ("other texts", 10)
    assert found["baselines"] == {"guess": QUALITY}
    text = (shipped / "README.md").read_text()
    assert "other texts, 10 rows:" in text
    assert "| guess | 0.8000 | 0.7000 to 0.9000 |" in text


def test_the_error_of_the_scores_is_told_before_and_after(shipped):
    card = read_card(shipped)
    for precision in ("fp32", "int8"):
        (found,) = card["calibration"][precision]
        assert found["n"] == len(ROWS)
        assert 0 <= found["after"] <= 1 and 0 <= found["before"] <= 1
        text = (shipped / "README.md").read_text()
        assert f"| {precision} | {found['of']} | 40 | {found['before']:.4f} |" in text
