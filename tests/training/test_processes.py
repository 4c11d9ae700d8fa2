"""Two processes of torchrun give the loss of one; one process alone is left as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.errors import UsageError
from tests.training import tiny_data
from training import processes
from training.recipe import Recipe

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-4  # relative: float32 sums in another order, over four steps


def test_without_torchrun_there_is_one_process() -> None:
    processes.join_processes()
    with processes.main_first():
        assert processes.is_main()
    assert (processes.world_size(), processes.from_main(lambda: 5)) == (1, 5)


def test_what_runs_in_one_process_refuses_several(monkeypatch: pytest.MonkeyPatch) -> None:
    processes.refuse_several("transfer distill")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="transfer distill runs in one process"):
        processes.refuse_several("transfer distill")


def trained(recipe: Recipe, out: Path, count: int) -> dict[str, Any]:
    """`metrics.json` of a training in so many processes, as a user starts it."""
    out.mkdir()
    recipe.save(out / "mine.yaml")
    launch = [
        *("-m", "torch.distributed.run", "--nproc-per-node", str(count)),
        # A free port of this machine: the default one may be another run's.
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"),
    ]
    command = [
        *(sys.executable, *(launch if count > 1 else ()), "transfer.py", "train"),
        *(str(out / "mine.yaml"), f"out={out / 'checkpoint'}"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads((out / "checkpoint" / "metrics.json").read_text("utf-8"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("job", ["intent", "reader"])
def test_two_processes_give_the_loss_of_one(
    job: str, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """Each takes half of every batch; without dropout, which draws its own numbers in each."""
    path = tmp_path / "rows.jsonl"
    rows = [row for row in tiny_data.tickets() if row["team"] != "other"] * 4
    numbered = [{**row, "text": f"{row['text']} {i}"} for i, row in enumerate(rows)]
    tiny_data.write_jsonl(path, numbered)
    changes: dict[str, Any] = {"max_steps": 4, "evaluations": 2, "dropout": 0.0}
    if job == "intent":
        changes |= {"data": str(path), "out_of_scope": ""}
    one = trained(make_recipe(job, batch_size=8, **changes), tmp_path / "one", 1)
    two = trained(make_recipe(job, batch_size=4, **changes), tmp_path / "two", 2)
    losses = [[entry["loss"] for entry in found["train"]["loss_history"]] for found in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=TOLERANCE)
    assert len(losses[0]) == 2
    assert two["train"]["steps"] == one["train"]["steps"] == 4
    assert two["test"]["value"] == pytest.approx(one["test"]["value"])
