"""What podman is given of the overlay; `make image-check` builds and plays it."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from load_tests.rehearsal import image
from tests.k8s.conftest import rendered


@pytest.fixture
def kubectl() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed; it renders the overlays")


@pytest.mark.usefixtures("kubectl")
def test_the_overlay_is_played_as_it_is_but_for_what_podman_cannot_do() -> None:
    secret, settings, deployment = image.overlay(4321, "a-key-of-the-image-check")
    assert base64.b64decode(secret["data"]["keys"]) == b"image:a-key-of-the-image-check\n"
    (server,) = rendered("cpu-int8").servers
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    changed = {"image", "args", "ports"}
    for name, value in server.container.items():
        assert (container[name] == value) == (name not in changed), name
    for name, value in server.pod.items():
        assert name == "containers" or pod[name] == value
    assert settings["data"] == {**server.settings, "TRANSFER_METRICS": "open"}


def test_the_document_has_the_sizes_that_were_measured() -> None:
    record = json.loads(image.RESULTS.read_text(encoding="utf-8"))
    readme = (image.ROOT / "k8s" / "README.md").read_text(encoding="utf-8")
    for found in (record, record["gpu"]):
        for size in found["sizes_mb"].values():
            assert f"{size:,.0f} MB" in readme
        played = found["played"]
        assert (played["ready"], played["classify"], played["without_key"]) == (200, 200, 401)
        assert (played["uid"], played["read_only_root"], played["restarts"]) == (1034, True, 0)
    without = record["gpu"]["played"]["without_device"]
    assert without["exit_code"] == 1 and "needs CUDAExecutionProvider" in without["says"]


def test_each_image_keeps_what_was_found_of_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(image, "RESULTS", tmp_path / "image.json")
    monkeypatch.setattr(image.with_torch, "write", lambda: None)
    for flavour, size in ((image.CPU, 500.0), (image.GPU, 3000.0), (image.CPU, 510.0)):
        image.keep(flavour, {"sizes_mb": {"slim": size}})
    record = json.loads((tmp_path / "image.json").read_text())
    assert record["sizes_mb"] == {"slim": 510.0}
    assert record["with_torch"]["times"] > 1
    assert record["gpu"]["sizes_mb"] == {"slim": 3000.0}
    assert record["gpu"]["command"].endswith("image --gpu")


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which the image can be built; the lock of what is published there."""
    lock = tmp_path / "variants.lock.json"
    lock.write_text("{}")
    monkeypatch.setattr(image, "ROOT", tmp_path)
    monkeypatch.setattr(image.os, "geteuid", lambda: 0)
    monkeypatch.setattr(image.shutil, "which", lambda name, path: name)
    return lock


def test_nothing_is_in_its_way_where_all_is_there(able: Path) -> None:
    assert image.missing() == ""


@pytest.mark.usefixtures("able")
def test_it_is_skipped_with_a_reason_without_podman(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        image.shutil, "which", lambda name, path: None if name == "podman" else name
    )
    before = image.RESULTS.read_text(encoding="utf-8")
    assert image.main([]) == 0
    assert capsys.readouterr().err == "image: skipped, podman is not installed\n"
    assert image.RESULTS.read_text(encoding="utf-8") == before


@pytest.mark.usefixtures("able")
def test_it_is_skipped_for_one_who_is_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image.os, "geteuid", lambda: 1000)
    assert image.missing().startswith("it needs root")
    assert image.main([]) == 0


def test_it_is_skipped_where_no_model_is_published(able: Path) -> None:
    able.unlink()
    assert image.missing().startswith("no model is published")
    assert image.main([]) == 0
