"""A module of this repository run as a program: JSON in, JSON out.

What is measured, and what costs memory to import, stays out of the process that watches: pages that
a server shares with its watcher would count as half.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from load_tests.server import ROOT
from services.errors import TransferError


class LoadError(TransferError):
    """The load generator failed, or the server answered nothing well."""

    code = "load_failed"


Watch = Callable[[int], AbstractContextManager[Any]]


def run_module(
    module: str, request: Any, timeout_s: float, watch: Watch = lambda pid: nullcontext()
) -> Any:
    """The JSON answer of `python -m module` to JSON on stdin; raises LoadError with its stderr.

    watch: its process id to what looks at it while it runs, e.g. a `Sampler`
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process, watch(process.pid):
        try:
            output, errors = process.communicate(json.dumps(request), timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise LoadError(
                f"`python -m {module}` took longer than {timeout_s:.0f} s; expected far less.",
                "Stop other work on this machine and measure again.",
            ) from error
    if process.returncode:
        lines = "\n".join(errors.splitlines()[-20:])
        raise LoadError(
            f"`python -m {module}` failed with exit code {process.returncode}:\n{lines}",
            "Install the `load` extra if a package is missing.",
        )
    return json.loads(output)
