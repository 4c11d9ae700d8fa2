"""What `transfer doctor` finds."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

import export.doctor
from export.doctor import cpu_flags, examine, memory_gb
from export.publish import publish, write_lock
from services.lock import read_lock
from services.registry import variant_path
from services.settings import Settings
from tests.export.models import flip_last_byte
from tests.services import tiny
from training.bases import BaseError


@pytest.fixture
def settings(home, tmp_path):
    folder = tiny.write_variant(tmp_path / "variant")
    write_lock(tmp_path / "lock.json", {"intent/full": publish(folder)})
    return replace(Settings(), lock=tmp_path / "lock.json")


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return port


def found(settings, port=0):
    return {finding["name"]: finding for finding in examine(settings, port)}


def test_a_sound_machine_has_nothing_wrong(settings, free_port):
    findings = found(settings, free_port)
    assert not [f for f in findings.values() if f["ok"] is False]
    assert list(findings) == [
        *("python", "cpu", "memory", "onnxruntime", "gpu", "cuda"),
        *("versions", "base", "variants", "port"),
    ]
    assert findings["variants"]["found"].startswith("1 published")
    assert "bentoml 1." in findings["versions"]["found"]


@pytest.mark.parametrize(
    ("version", "ok"),
    [((3, 9, 1), False), ((3, 10, 14), False), ((3, 11, 0), True), ((3, 13, 1), True)],
)
def test_python_versions_are_compared_as_numbers(monkeypatch, version, ok):
    monkeypatch.setattr(export.doctor.sys, "version_info", version)
    assert export.doctor._python()["ok"] is ok


@pytest.mark.parametrize(
    ("installed", "ok", "text"),
    [
        ({"onnxruntime"}, True, "onnxruntime"),
        ({"onnxruntime-gpu"}, True, "onnxruntime-gpu"),
        ({"onnxruntime", "onnxruntime-gpu"}, False, "both"),
        (set(), False, "none"),
    ],
)
def test_exactly_one_onnxruntime(settings, monkeypatch, installed, ok, text):
    monkeypatch.setattr(
        export.doctor, "_version", lambda name: "1.0" if name in installed else None
    )
    finding = found(settings)["onnxruntime"]
    assert finding["ok"] is ok
    assert finding["found"].startswith(text)


def test_a_damaged_variant_is_named(settings):
    flip_last_byte(variant_path(read_lock(settings.lock)["intent/full"]) / "model.onnx")
    finding = found(settings)["variants"]
    assert finding["ok"] is False
    assert "model.onnx has sha256" in finding["found"]
    assert "transfer build" in finding["found"]


def test_without_a_lock_the_next_step_is_named(settings, tmp_path):
    finding = found(replace(settings, lock=tmp_path / "none.json"))["variants"]
    assert finding["ok"] is False
    assert "Run `transfer build`" in finding["found"]


def test_a_base_that_is_not_there(settings, monkeypatch):
    def missing(base):
        raise BaseError("Base 'embedded' was not found.", "Install it.")

    monkeypatch.setattr(export.doctor, "resolve", missing)
    finding = found(settings)["base"]
    assert (finding["ok"], finding["found"]) == (
        False,
        "Base 'embedded' was not found. Install it.",
    )


def test_a_taken_port(settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        finding = found(settings, taken.getsockname()[1])["port"]
    assert finding["ok"] is False
    assert "--port" in finding["found"]


def test_a_port_that_is_none(settings):
    assert found(settings, 99999)["port"]["ok"] is False


def test_the_machine_is_described():
    assert memory_gb() > 0.1
    assert set(cpu_flags()) <= set(export.doctor.FLAGS)
