"""Where a measurement was made: machine, versions, commit. A number without it is no result.

Out: the `environment` of `reports/tradeoff.json`. Run by `transfer bench`.
"""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from load_tests.memory import MB
from load_tests.server import ROOT

PACKAGES = (
    "bentoml",
    "codecarbon",
    "ctranslate2",
    "fastapi",
    "locust",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "tokenizers",
    "torch",
    "transformers",
    "uvicorn",
    "uvloop",
)
MAX_BUSY = 0.2
# What decides how fast int8 and bf16 run.
CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp")


def environment() -> dict[str, Any]:
    """CPU, cores, RAM, versions and commit; what this machine does not tell is left out."""
    found = {
        "cpu": _cpu_name(),
        "cpu_flags": _cpu_flags(),
        "cores": psutil.cpu_count(),
        "ram_mb": round(psutil.virtual_memory().total / MB),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": _commit(),
    }
    return {name: value for name, value in found.items() if value}


def busy_before(seconds: float = 1.0) -> dict[str, Any]:
    """How much of the machine others use before we begin, 0..1: much of it spoils every number."""
    used = psutil.cpu_percent(interval=seconds) / 100
    return {"cpu_used_before": used, "idle_machine": used <= MAX_BUSY}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _cpu_name() -> str:
    found = re.search(r"^model name\s*: (.+)$", _cpuinfo(), re.MULTILINE)
    return found.group(1).strip() if found else platform.processor()


def _cpu_flags() -> list[str]:
    found = re.search(r"^(?:flags|Features)\s*: (.+)$", _cpuinfo(), re.MULTILINE)
    flags = set(found.group(1).split()) if found else set()
    return [flag for flag in CPU_FLAGS if flag in flags]


def _commit() -> str:
    """The checked-out commit, with `-dirty` when files differ from it; empty outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.check_output(
            command, cwd=ROOT, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return ""
