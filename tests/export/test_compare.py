"""Variants of one model side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from export.compare import compare_variants, out_of_scope, table
from export.publish import publish, write_lock
from services.errors import ArtifactError, UsageError
from services.manifest import read_manifest
from services.settings import Settings
from tests.services import tiny
from training.rows import LabelledText

TRUE = [
    LabelledText("send money", ("transfer_money",)),
    LabelledText("freeze my card", ("freeze_card",)),
    LabelledText("my card is stolen", ("freeze_card",)),
    LabelledText("my balance", ("check_balance",)),
]


@pytest.fixture
def settings(home, tmp_path):
    """Three variants of intent, the distilled ones without a word that full knows; zeroshot."""
    job, tags = tiny.JOBS["intent"], {}
    known = {word: row for word, row in job["table"].items() if word != "stolen"}
    for variant in ("distilled-int8", "full", "distilled"):
        graph = job["make"](job["table"] if variant == "full" else known)
        folder = tiny.write_variant(tmp_path / variant, "intent", variant, graph=graph)
        tags[f"intent/{variant}"] = publish(folder)
    zeroshot = tiny.write_variant(tmp_path / "zeroshot", "zeroshot", "full")
    tags["zeroshot/full"] = publish(zeroshot)
    write_lock(tmp_path / "lock.json", tags)
    return replace(Settings(), lock=tmp_path / "lock.json")


def compared(settings, rows=TRUE, labelled=True):
    return compare_variants("intent", settings, lambda *of: rows, labelled)


def test_variants_come_biggest_first_and_are_measured_against_the_first(settings):
    report = compared(settings)
    assert (report["model"], report["rows"]) == ("intent", 4)
    assert [entry["variant"] for entry in report["variants"]] == [
        "full",
        "distilled",
        "distilled-int8",
    ]
    full, distilled, _ = report["variants"]
    assert (full["agreement"], distilled["agreement"]) == (1.0, 0.75)
    assert (full["quality"]["value"], distilled["quality"]["value"]) == (1.0, 0.75)
    assert distilled["loss"]["value"] == 0.25
    assert full["parameters"] == 300
    assert full["texts_per_s"] > 0


def test_without_labels_there_is_no_quality(settings):
    for entry in compared(settings, labelled=False)["variants"]:
        assert "quality" not in entry
        assert 0 <= entry["agreement"] <= 1


def test_rows_are_asked_for_by_what_the_model_is(settings):
    asked = []

    def rows_of(kind, labels, multi_label):
        asked.append((kind, labels, multi_label))
        return TRUE

    compare_variants("intent", settings, rows_of, labelled=True)
    assert set(map(str, asked)) == {
        str(("sequence-classification", list(tiny.INTENTS), False)),
    }


def test_one_label_that_the_model_does_not_know_is_out_of_scope(settings):
    rows = [*TRUE, LabelledText("thanks", ("oos",)), LabelledText("please", ("oos",))]
    full = compared(settings, rows)["variants"][0]
    assert full["quality"]["value"] == 1.0
    assert full["quality"]["out_of_scope_recall"] == 1.0


def test_rows_of_another_job_are_refused(tmp_path):
    manifest = read_manifest(tiny.write_variant(tmp_path / "v"))
    rows = [LabelledText("a", ("cat",)), LabelledText("b", ("dog",))]
    with pytest.raises(UsageError, match="labels that intent does not know: cat, dog; expected"):
        out_of_scope(manifest, rows)
    assert out_of_scope(manifest, TRUE) == ""


def test_the_table_has_a_line_for_each(settings):
    lines = table(compared(settings)).splitlines()
    assert lines[0] == "intent, 4 rows"
    assert lines[1].startswith("full            accuracy 1.0000  agreement 1.000")
    assert len(lines) == 4
    assert "accuracy" not in table(compared(settings, labelled=False))


def test_an_unknown_model_is_refused_with_the_known_ones(settings):
    with pytest.raises(UsageError, match=r"No variant of 'nope' .* There are intent, zeroshot\."):
        compare_variants("nope", settings, lambda *of: TRUE, labelled=True)


def test_zeroshot_has_no_labels_to_compare_on(settings):
    with pytest.raises(UsageError, match="POST /compare"):
        compare_variants("zeroshot", settings, lambda *of: TRUE, labelled=True)


def test_without_a_lock_the_next_step_is_named(settings, tmp_path):
    with pytest.raises(ArtifactError, match="Run `transfer build`"):
        compare_variants("intent", replace(settings, lock=tmp_path / "no"), lambda *of: TRUE, True)
