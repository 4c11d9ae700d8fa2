"""schemathesis asks what our OpenAPI document allows and what it forbids, with all its checks.

make fuzz                                # 200 cases for every operation
TRANSFER_FUZZ_CASES=20 pytest tests/services/test_fuzz.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from services.openapi import document
from tests.services.server import ROOT, Server

CASES = int(os.environ.get("TRANSFER_FUZZ_CASES", "10"))
CONFIG = Path(__file__).with_name("schemathesis.toml")


def test_what_the_document_says_is_what_the_service_does(
    server: Server, client: httpx.Client, tmp_path: Path
) -> None:
    pytest.importorskip("schemathesis", reason="`make fuzz` installs schemathesis")
    counts = tmp_path / "counts.json"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)]
    command += ["run", f"{server.url}/docs.json", "--max-examples", str(CASES), "--no-color"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TRANSFER_FUZZ_COUNTS": str(counts)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    asked = json.loads(counts.read_text())
    print(f"{sum(asked.values())} cases: {asked}")
    operations = {
        f"{method.upper()} {path}"
        for path, methods in document()["paths"].items()
        for method in methods
        if path != "/docs.json"  # it reads that before it begins
    }
    assert {name for name, count in asked.items() if count >= CASES} == operations
    assert client.get("/readyz").status_code == 200
    assert "Traceback" not in server.output()
