"""How the service starts: not at all with broken variants, and ready only when warm."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.services import tiny
from tests.services.conftest import Store
from tests.services.mutations import MISPUBLISHED
from tests.services.server import ROOT, end, environment, free_port, serving


def serve_and_wait_for_the_end(env: dict[str, str]) -> tuple[int, str]:
    command = [sys.executable, "-m", "bentoml", "serve", "services.app:Transfer"]
    command += ["--host", "127.0.0.1", "--port", str(free_port())]
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        end(process)  # type: ignore[arg-type]
        raise
    return process.returncode, output


def own_store(tmp_path: Path, folder: Path) -> tuple[Path, Path, str]:
    """A store with one variant in it."""
    home = tmp_path / "home"
    tag = tiny.store(folder, home)
    return home, tiny.write_lock(tmp_path / "lock.json", [tag]), tag


def test_without_a_lock_it_says_what_to_run(tmp_path: Path) -> None:
    code, output = serve_and_wait_for_the_end(environment(tmp_path, tmp_path / "lock.json"))
    assert code == 1
    assert "lock.json does not exist" in output and "Run `transfer build`" in output
    assert "Traceback" not in output


def test_wrong_settings_are_all_named(store: Store) -> None:
    env = environment(store.home, store.lock, TRANSFER_THREADS="x", TRANSFER_PROVIDER="y")
    code, output = serve_and_wait_for_the_end(env)
    assert code == 1
    assert "TRANSFER_THREADS is 'x'" in output and "TRANSFER_PROVIDER is 'y'" in output
    assert "Traceback" not in output


def test_a_variant_that_is_not_in_the_store_is_named(tmp_path: Path, store: Store) -> None:
    code, output = serve_and_wait_for_the_end(environment(tmp_path / "empty", store.lock))
    assert code == 1
    assert "is not in BentoML's model store" in output
    assert "Traceback" not in output


def test_a_port_for_the_metrics_that_is_taken_ends_it_in_one_line(store: Store) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        env = environment(store.home, store.lock, TRANSFER_METRICS=port)
        code, output = serve_and_wait_for_the_end(env)
    assert code == 1, output
    [line] = [line for line in output.splitlines() if line.startswith("transfer: ")]
    assert f"TRANSFER_METRICS is {port}, a port that cannot be opened" in line
    assert "Traceback" not in output


def test_traces_without_their_exporter_end_it_in_one_line(tmp_path: Path, store: Store) -> None:
    hidden = (
        "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None"
    )
    (tmp_path / "sitecustomize.py").write_text(hidden)
    env = environment(
        store.home,
        store.lock,
        TRANSFER_TRACES="http://127.0.0.1:4318",
        PYTHONPATH=str(tmp_path),
    )
    code, output = serve_and_wait_for_the_end(env)
    assert code == 1, output
    [line] = [line for line in output.splitlines() if line.startswith("transfer: ")]
    assert "OpenTelemetry's exporter is not installed" in line
    assert "Traceback" not in output


@pytest.mark.parametrize("damage", ["flipped graph", "other labels", "no cuda", "new manifest"])
def test_a_broken_variant_never_gets_ready(tmp_path: Path, damage: str) -> None:
    changes = {"labels": ["one", "two"]} if damage == "other labels" else {}
    folder = tiny.write_variant(tmp_path / "variant", **changes)
    home, lock, tag = own_store(tmp_path, folder)
    stored = home / "models" / tag.replace(":", "/")
    settings = {"TRANSFER_PROVIDER": "cuda"} if damage == "no cuda" else {}
    if damage == "flipped graph":
        content = bytearray((stored / "model.onnx").read_bytes())
        content[len(content) // 2] ^= 1
        (stored / "model.onnx").write_bytes(content)
    if damage == "new manifest":
        text = (stored / "manifest.json").read_text()
        (stored / "manifest.json").write_text(text.replace("transfer_money", "transfer_moneys"))
    code, output = serve_and_wait_for_the_end(environment(home, lock, **settings))
    named = {"no cuda": "CUDAExecutionProvider", "new manifest": "manifest.json"}
    lines = [line for line in output.splitlines() if line.startswith("transfer: ")]
    assert code == 1, output
    assert len(lines) == 1, output
    assert named.get(damage, "model.onnx") in lines[0]
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "name", ["NaN in the vector of one word", "a temperature of 0", "another model's name in it"]
)
def test_what_was_published_wrong_ends_the_service(tmp_path: Path, name: str) -> None:
    """`test_corruption` has all the others, in process."""
    write, named = MISPUBLISHED[name]
    home, lock, _ = own_store(tmp_path, write(tmp_path / "variant"))
    code, output = serve_and_wait_for_the_end(environment(home, lock))
    [line] = [line for line in output.splitlines() if line.startswith("transfer: ")]
    assert code == 1 and named in line, output
    assert "Traceback" not in output


def test_variants_can_be_narrowed_and_what_is_not_loaded_is_listed(
    tmp_path: Path, store: Store
) -> None:
    env = environment(store.home, store.lock, TRANSFER_VARIANTS="intent/full,zeroshot")
    with serving(tmp_path / "log", env) as server:
        server.wait_until_ready()
        listed = httpx.get(f"{server.url}/models").json()["models"]
        loaded = {f"{one['model']}/{one['variant']}" for one in listed if one["loaded"]}
        assert loaded == {"intent/full", "zeroshot/full", "zeroshot/full-int8"}
        assert len(listed) == len(store.tags)
        answer = httpx.post(f"{server.url}/classify", json={"text": "send"}).json()
        assert answer["variant"] == "full"
        missing = httpx.post(f"{server.url}/qa", json={"question": "a", "context": "b"})
        assert missing.status_code == 404
        server.process.terminate()
        assert server.process.wait(20) == 0


def test_a_checkout_serves_from_its_own_store(tmp_path: Path, store: Store) -> None:
    """Without BENTOML_HOME, `.bentoml` beside pyproject.toml is where the variants are."""
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "services", checkout / "services")
    (checkout / "pyproject.toml").write_text("")
    shutil.copytree(store.home, checkout / ".bentoml")
    shutil.copy(store.lock, checkout / "variants.lock.json")
    env = environment(tmp_path, None, HOME=str(tmp_path), TRANSFER_VARIANTS="intent/full")
    del env["BENTOML_HOME"]
    with serving(tmp_path / "log", env, cwd=checkout) as server:
        server.wait_until_ready()
        answer = httpx.post(f"{server.url}/classify", json={"text": "send"}).json()
    assert answer["results"][0]["label"] == "transfer_money"
