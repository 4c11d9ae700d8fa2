"""Two processes train one checkpoint, and only the first writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from load_tests.server import free_port
from services.errors import UsageError
from training import processes as module
from training.processes import is_first, processes, refuse_several

ROOT = Path(__file__).resolve().parents[2]


def test_alone_a_process_is_the_first() -> None:
    assert (processes(), is_first()) == (1, True)
    refuse_several("Anything")


def test_what_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "processes", lambda: 2)
    with pytest.raises(UsageError, match="torchrun started 2"):
        refuse_several("Distillation")


def test_torchrun_trains_one_checkpoint_together(tiny_bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "together"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += [
        f"--master-port={free_port()}",
        "--node-rank=0",
        "--nnodes=1",
        "transfer.py",
        "train",
    ]
    settings = [f"base={tiny_bert}", "epochs=1", "batch_size=16", "evaluations=2", f"out={out}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [*command, "sample-tickets", *settings, "--json"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    metrics = json.loads((out / "metrics.json").read_text())
    assert json.loads(done.stdout)["test"] == metrics["test"], "told once, by the first"
    rows = metrics["train"]["rows"]
    assert metrics["train"]["steps"] <= rows / 32 + 1, "a step reads a batch of each process"
    assert len(metrics["train"]["dev_history"]) == 2
