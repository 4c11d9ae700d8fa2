"""The profile of a request, of a real server over tiny variants."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from load_tests.profile_request import bodies_of, busiest, main
from load_tests.server import ROOT

PY_SPY = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")


def test_bodies_have_one_text_or_a_list() -> None:
    (first, *rest) = bodies_of("intent", "full-int8", words=8, batch=1)
    assert len(first["text"].split()) == 8
    assert {body["variant"] for body in rest} == {"full-int8"}
    lists = bodies_of("intent", "full-int8", words=120, batch=32)
    assert {len(body["text"]) for body in lists} == {32}


def test_the_busiest_process_of_a_tree_is_found() -> None:
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == b"done\n"
        assert busiest(process.pid) == process.pid
    finally:
        process.communicate(b"\n")


def test_a_machine_without_wrk_ends_with_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main([]) == 2
    assert "apt-get install wrk" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("wrk") is None or PY_SPY is None, reason="needs wrk and py-spy")
def test_a_profile_tells_parts_and_lines(published: Mapping[str, str], tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    command = [sys.executable, "-m", "load_tests.profile_request", "--variant"]
    command += ["intent/distilled-int8", "--seconds", "1", "--json", str(out)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **published},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if "right to look into another process" in done.stderr:
        pytest.skip("this machine does not let py-spy look into a process")
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    assert record["failures"] == 0
    assert sum(record["parts"].values()) == pytest.approx(1.0)
    assert "infer" in record["parts"]
    assert "## Lines that held the lock" in done.stdout
