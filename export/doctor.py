"""What this machine has and what is wrong with it: what `transfer doctor` prints."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
import sys
from pathlib import Path
from typing import Any

from services.errors import TransferError
from services.lock import read_lock
from services.registry import check_variant, variant_path
from services.settings import Settings, usable_cores
from training.bases import EMBEDDED, resolve

LIBRARIES = (
    *("bentoml", "torch", "transformers", "peft", "optimum-onnx", "onnx"),
    *("onnxruntime", "onnxruntime-gpu", "tokenizers", "locust"),
)
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")

Finding = dict[str, Any]


def examine(settings: Settings, port: int) -> list[Finding]:
    """One finding per question: name, found, ok (True, False, or None where nothing is asked)."""
    return [
        _python(),
        _finding("cpu", f"{usable_cores()} cores, {', '.join(cpu_flags()) or 'no known flags'}"),
        _finding("memory", f"{memory_gb():.1f} GB"),
        _runtime(),
        *_gpu(settings),
        _libraries(),
        _base(),
        _variants(settings),
        _port(port),
    ]


def _python() -> Finding:
    return _finding("python", platform.python_version(), sys.version_info >= (3, 11))


def _finding(name: str, found: str, ok: bool | None = None) -> Finding:
    return {"name": name, "found": found, "ok": ok}


def cpu_flags() -> list[str]:
    """Which instruction sets that matter for int8 and bf16 the CPU has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    found = next((line for line in lines if line.startswith("flags")), "").split()
    return [flag for flag in FLAGS if flag in found]


def memory_gb() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(lines[0].split()[1]) / 1e6
    except (OSError, ValueError, IndexError):
        return 0.0


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _runtime() -> Finding:
    """Exactly one ONNX Runtime: both packages install the same module."""
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
    hint = {
        0: "none; install the cpu or the gpu extra",
        2: "both; uninstall both, then install one",
    }
    return _finding("onnxruntime", hint.get(len(found), found[0] if found else ""), len(found) == 1)


def _gpu(settings: Settings) -> list[Finding]:
    """The device, and whether ONNX Runtime runs on it."""
    try:
        from export import doctor_gpu
    except ImportError as error:
        found = f"unknown: onnxruntime cannot be imported ({error})"
        return [_finding("gpu", found, False)]
    return [
        _finding("gpu", *doctor_gpu.device()),
        _finding("cuda", *doctor_gpu.cuda(settings.provider)),
    ]


def _libraries() -> Finding:
    found = [f"{name} {version}" for name in LIBRARIES if (version := _version(name))]
    return _finding("versions", ", ".join(found))


def _base() -> Finding:
    try:
        base = resolve(EMBEDDED)
    except TransferError as error:
        return _finding("base", str(error), False)
    return _finding("base", f"{base.id}, sha256 {base.sha256[:16]} as published", True)


def _variants(settings: Settings) -> Finding:
    """Every published variant, its files hashed again."""
    try:
        lock = read_lock(settings.lock)
        for tag in lock.values():
            check_variant(variant_path(tag))
    except TransferError as error:
        return _finding("variants", str(error), False)
    return _finding("variants", f"{len(lock)} published, all hashes as in their manifests", True)


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OverflowError:
            return _finding("port", f"{port} is no port; use --port with 1 to 65535", False)
        except OSError as error:
            return _finding("port", f"{port} cannot be used ({error.strerror}); use --port", False)
    return _finding("port", f"{port} is free", True)
