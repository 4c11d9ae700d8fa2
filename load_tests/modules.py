"""A module of this repository run as a program: JSON in, JSON out.

What is measured, and what costs memory to import, stays out of the process that watches: pages that
a server shares with its watcher would count as half.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from load_tests.server import ROOT
from services.errors import TransferError


class LoadError(TransferError):
    """The load generator failed, or the server answered nothing well."""

    code = "load_failed"


def run_module(module: str, request: Any, timeout_s: float) -> Any:
    """The JSON answer of `python -m module` to JSON on stdin; raises LoadError with its stderr."""
    command = [sys.executable, "-m", module]
    try:
        done = subprocess.run(
            command,
            check=False,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise LoadError(
            f"`python -m {module}` took longer than {timeout_s:.0f} s; expected far less.",
            "Stop other work on this machine and measure again.",
        ) from error
    if done.returncode:
        lines = "\n".join(done.stderr.splitlines()[-20:])
        raise LoadError(
            f"`python -m {module}` failed with exit code {done.returncode}:\n{lines}",
            "Install the `load` extra if a package is missing.",
        )
    return json.loads(done.stdout)
