"""The command of the rehearsal: what keeps it from beginning is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from load_tests.rehearsal.__main__ import main


@pytest.fixture(autouse=True)
def unpublished(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRANSFER_LOCK", str(tmp_path / "variants.lock.json"))


def test_models_must_be_published(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rolling"]) == 1
    assert "names the published variants. Run `transfer build`" in capsys.readouterr().err


def test_a_scene_must_be_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollin"]) == 2
    assert "There is no scene rollin." in capsys.readouterr().err
