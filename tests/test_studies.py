"""`transfer results curves`: from the command to the file, the plot, the table and the advice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import transfer
from commands import places
from commands.studies import command_of
from export import results
from tests.training import tiny_data
from training import advice
from training.recipe import Recipe


def test_a_command_names_no_folder_of_this_machine() -> None:
    settings = ["data=/home/me/banking77", "ways=head", "columns={label: a/b}"]
    assert command_of("curves", settings) == (
        "transfer results curves data=me/banking77 ways=head columns={label: a/b}"
    )


@pytest.mark.parametrize("setting", ["ways=magic", "sizes=none", "seeds=x", "recipe=nowhere"])
def test_what_cannot_be_measured_is_wrong_usage(
    setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transfer.main(["results", "curves", setting]) == 2
    assert capsys.readouterr().err.startswith("transfer: ")


@pytest.fixture
def recipe(tiny_bert: Path, tmp_path: Path) -> Recipe:
    data = tiny_data.write_all(tmp_path)
    return tiny_data.recipe_of("intent", data, tiny_bert, pooling="mean", max_steps=2)


def test_curves_become_a_record_a_plot_a_table_and_advice(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe.save(tmp_path / "mine.yaml")
    page, folder = tmp_path / "results.md", tmp_path / "results"
    page.write_text("<!-- curves:begin -->\n<!-- curves:end -->")
    plain: Callable[..., Path] = results.write_result
    monkeypatch.setattr(
        results, "write_result", lambda name, record: plain(name, record, folder, page)
    )
    monkeypatch.setattr(places, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(places, "WORK", tmp_path / "work")
    settings = [f"recipe={tmp_path / 'mine.yaml'}", "ways=head,prototypes", "sizes=1,2", "seeds=2"]
    assert transfer.main(["results", "curves", *settings]) == 0
    told = capsys.readouterr().err
    assert told.count("min left") == 8
    record: dict[str, Any] = json.loads((folder / "curves.json").read_text())
    assert record["command"].endswith("/mine.yaml ways=head,prototypes sizes=1,2 seeds=2")
    assert record["environment"]["cores"] and record["seeds"] == {"1": 2, "2": 2}
    assert (folder / "curves.svg").read_text().startswith("<svg")
    assert "| prototypes |" in page.read_text()
    assert transfer.main(["results", "curves", *settings]) == 0
    assert "min left" not in capsys.readouterr().err  # nothing was run again

    for row in record["rows"]:
        row["mean"], row["std"] = (0.9 if row["way"] == "head" else 0.1), 0.0
    (folder / "curves.json").write_text(json.dumps(record))
    monkeypatch.setattr(advice, "CURVES", folder / "curves.json")
    chosen = ["strategy=prototypes", "examples_per_class=1", f"out={tmp_path / 'out'}"]
    assert transfer.main(["train", str(tmp_path / "mine.yaml"), *chosen]) == 0
    assert "Try `strategy=head`." in capsys.readouterr().err
