"""`transfer evaluate`: checkpoints and published variants, figures, slices and comparisons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import transfer
from export.publish import publish, write_lock
from services.errors import TransferError, UsageError
from tests.services import tiny
from tests.training import tiny_data
from training.finetune import finetune
from training.recipe import Recipe


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_data.write_all(tmp_path_factory.mktemp("evaluation-data"))
    rows = [
        {**ticket, "shift": "night" if number % 3 else "day"}
        for number, ticket in enumerate(tiny_data.tickets() * 4)
    ]
    for number, row in enumerate(rows):
        row["text"] = f"{row['text']} {number}"
    tiny_data.write_jsonl(folder / "shifts.jsonl", rows)
    return folder


Trained = Callable[..., Path]


@pytest.fixture(scope="session")
def trained(
    data_folder: Path, tiny_bert: Path, tiny_bart: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """trained("intent"): a finished checkpoint of that job."""
    made: dict[str, Path] = {}

    def train(job: str) -> Path:
        if job not in made:
            base = tiny_bart if job == "dialogue" else tiny_bert
            recipe: Recipe = tiny_data.recipe_of(job, data_folder, base, max_steps=4)
            out = tmp_path_factory.mktemp("evaluated") / job
            made[job] = finetune(recipe, out, progress=False)
        return made[job]

    return train


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert transfer.main(["evaluate", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_classifier_has_every_figure_and_a_picture(
    trained: Trained, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"data={data_folder / 'shifts.jsonl'}"
    settings = [data, "rows=all", "slice=shift", f"out={tmp_path}"]
    found = evaluated(capsys, str(trained("intent")), *settings)
    assert found["rows"] == 160
    assert {"accuracy", "macro_f1", "macro_precision", "auc"} <= set(found["figures"])
    assert [row["label"] for row in found["classes"]] == ["billing", "returns", "shipping"]
    assert sum(cell["n"] for cell in found["confusion"]["cells"]) == 160
    groups = {group["group"]: group["n"] for group in found["slices"]["shift"]["groups"]}
    assert sum(groups.values()) == 120  # those of no class are in no group
    assert set(groups) == {"day", "night"}
    assert found["calibration"][0]["n"] == 120
    name = "intent-full-checkpoint"
    assert Path(found["report"]) == tmp_path / f"{name}.json"
    shown = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert "| accuracy |" in shown and "By `shift`" in shown and f"{name}-confusion.svg" in shown
    assert (tmp_path / f"{name}-confusion.svg").read_text(encoding="utf-8").startswith("<svg")


def test_the_test_split_of_the_recipe_is_what_counts_unless_said_otherwise(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = trained("intent")
    found = evaluated(capsys, str(checkpoint), f"out={tmp_path}")
    metrics = json.loads((checkpoint / "metrics.json").read_text(encoding="utf-8"))
    assert found["metric"]["value"] == pytest.approx(metrics["test"]["value"])
    assert found["metric"]["n"] == metrics["test"]["n"]


def test_a_model_against_itself_gains_nothing(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(trained("intent"))
    found = evaluated(capsys, folder, f"against={folder}", f"out={tmp_path}")
    assert found["against"]["gain"] == {"value": 0.0, "ci_low": 0.0, "ci_high": 0.0}
    assert found["against"]["agreement"] == 1.0


@pytest.mark.parametrize(
    ("job", "figures"),
    [
        ("tags", {"macro_f1", "micro_f1", "samples_f1", "exact_match"}),
        ("reader", {"f1", "exact_match"}),
        ("highlights", {"rouge1", "rouge2", "rougeL", "rougeLsum", "bleu"}),
        ("dialogue", {"rouge1", "rougeL", "bleu", "perplexity", "exact_match"}),
    ],
)
def test_every_kind_has_its_figures(
    job: str,
    figures: set[str],
    trained: Trained,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = trained(job)
    found = evaluated(capsys, str(checkpoint), f"out={tmp_path}")
    assert figures <= set(found["figures"])
    metrics = json.loads((checkpoint / "metrics.json").read_text(encoding="utf-8"))
    assert found["metric"]["value"] == pytest.approx(metrics["test"]["value"])
    assert not list(tmp_path.glob("*.svg"))


def test_labels_that_the_model_does_not_know_are_refused(
    trained: Trained, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.csv"
    path.write_text("text,team\nhello,sales\n", encoding="utf-8")
    arguments = ["evaluate", str(trained("intent")), f"data={path}", "rows=all"]
    assert transfer.main(arguments) == 2
    assert "sales" in capsys.readouterr().err


def test_what_is_neither_checkpoint_nor_variant_is_named(tmp_path: Path) -> None:
    from export.evaluation import find_subject

    with pytest.raises(UsageError, match="neither a folder with"):
        find_subject("nothing", tmp_path / "lock.json")
    with pytest.raises(TransferError, match="nowhere/full is not published"):
        (tmp_path / "lock.json").write_text('{"variants": {}}', encoding="utf-8")
        find_subject("nowhere/full", tmp_path / "lock.json")


def test_a_published_variant_is_judged_by_the_preset_or_recipe_of_its_name(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tag = publish(tiny.write_variant(tmp_path / "intent", "intent", "full"))
    write_lock(tmp_path / "lock.json", {"intent/full": tag})
    monkeypatch.setenv("TRANSFER_LOCK", str(tmp_path / "lock.json"))
    path = tmp_path / "mine.csv"
    rows = ["send money,transfer_money", "freeze my card,freeze_card", "the a of,oos"]
    path.write_text("\n".join(["text,intent", *rows]), encoding="utf-8")
    found = evaluated(capsys, "intent/full", f"data={path}", "rows=all", f"out={tmp_path}")
    assert found["subject"] == "intent/full" and found["runs"] == "ONNX Runtime"
    assert found["metric"]["n"] == 2 and found["metric"]["value"] == 1.0
    assert (tmp_path / "intent-full-confusion.svg").is_file()
