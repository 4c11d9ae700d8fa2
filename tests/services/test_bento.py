"""A Bento: built with the default variants inside, exported, imported elsewhere, served there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.services.conftest import Store
from tests.services.server import ROOT, environment, serving


def bentoml(*arguments: str, env: dict[str, str], cwd: Path) -> str:
    command = [sys.executable, "-m", "bentoml", *arguments]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Path:
    """A copy of what the Bento is made from, after `transfer build`."""
    root = tmp_path_factory.mktemp("bento") / "checkout"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "services", root / "services", ignore=ignore)
    shutil.copy(ROOT / "bentofile.yaml", root)
    shutil.copy(store.lock, root / "variants.lock.json")
    for name in ("README.md", "LICENSE", "NOTICE"):
        (root / name).write_text(f"# {name}\n")
    (root / "training").mkdir()
    (root / "training" / "secret.py").write_text("")
    return root


@pytest.fixture(scope="module")
def bento(checkout: Path, store: Store) -> Path:
    """The exported archive."""
    env = environment(store.home)
    tag = bentoml("build", "--output", "tag", env=env, cwd=checkout).strip().splitlines()[-1]
    archive = checkout.parent / "transfer.bento"
    bentoml("export", tag.removeprefix("__tag__:"), str(archive), env=env, cwd=checkout)
    return archive


def test_an_imported_bento_answers_in_an_empty_home(bento: Path, tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    bentoml("import", str(bento), env=env, cwd=tmp_path)
    with serving(tmp_path / "log", env, target="transfer-service:latest", cwd=tmp_path) as server:
        server.wait_until_ready()
        answer = httpx.post(f"{server.url}/classify", json={"text": "send money"}).json()
        listed = httpx.get(f"{server.url}/models").json()["models"]
        playground = httpx.get(f"{server.url}/playground/app.js")
    assert answer["results"][0]["label"] == "transfer_money"
    assert playground.status_code == 200
    assert {f"{one['model']}/{one['variant']}" for one in listed} == {
        "intent/distilled-int8",
        "emotion/distilled-int8",
        "reader/distilled-int8",
        "highlights/distilled-int8",
        "zeroshot/full-int8",
    }


def test_a_bento_holds_the_service_and_nothing_else(bento: Path, tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    bentoml("import", str(bento), env=env, cwd=tmp_path)
    source = next((tmp_path / "home" / "bentos" / "transfer-service").glob("*/src"))
    assert {path.name for path in source.iterdir()} == {
        "services",
        "variants.lock.json",
        "README.md",
        "LICENSE",
        "NOTICE",
        "bentofile.yaml",
    }
    assert list(source.rglob("*.pyc")) == []


def test_its_packages_are_pinned_by_hash_and_are_those_of_the_tests(
    bento: Path, tmp_path: Path
) -> None:
    from importlib.metadata import PackageNotFoundError, version

    env = environment(tmp_path / "home")
    bentoml("import", str(bento), env=env, cwd=tmp_path)
    place = (tmp_path / "home" / "bentos" / "transfer-service").glob("*/env/python")
    text = (next(place) / "requirements.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    bare = [line for line in lines if "--hash=sha256:" not in line]
    assert bare == [f"bentoml=={version('bentoml')}"]  # BentoML's own, beside the one with hashes
    wrong = {}
    for line in lines:
        name, _, pinned = line.split()[0].rstrip(";").partition("==")
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue  # of another system
        if installed != pinned:
            wrong[name] = pinned, installed
    assert wrong == {}


def test_building_without_a_lock_says_what_to_run(checkout: Path, tmp_path: Path) -> None:
    bare = tmp_path / "checkout"
    shutil.copytree(checkout, bare)
    (bare / "variants.lock.json").unlink()
    command = [sys.executable, "-m", "bentoml", "build"]
    env = environment(tmp_path / "home")
    done = subprocess.run(command, cwd=bare, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "Run `transfer build`" in done.stderr
