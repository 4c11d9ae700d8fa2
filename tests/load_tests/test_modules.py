"""What measures shares no library with what is measured; faults of a child are told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from load_tests.modules import LoadError, run_module
from load_tests.server import ROOT

OF_A_SERVER = ("bentoml", "onnxruntime", "tokenizers", "starlette", "sentencex", "uvloop", "torch")


@pytest.mark.parametrize("module", ["load_tests.bench", "load_tests.drive", "load_tests.sampler"])
def test_a_measuring_process_has_no_library_of_a_server(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(sys.modules.keys() & {set(OF_A_SERVER)}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


def test_a_child_that_fails_is_told_with_its_last_lines() -> None:
    with pytest.raises(LoadError, match="failed with exit code 1:"):
        run_module("load_tests.inprocess", {}, timeout_s=60)


def test_a_child_is_watched_while_it_runs() -> None:
    seen = []

    class Watch:
        def __init__(self, pid: int) -> None:
            seen.append(pid)

        def __enter__(self) -> None:
            seen.append("began")

        def __exit__(self, *_: object) -> None:
            seen.append("ended")

    assert run_module("load_tests.folders", [], 60, Watch) == {"folders": []}
    assert isinstance(seen[0], int) and seen[1:] == ["began", "ended"]
