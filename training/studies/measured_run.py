"""One training in a process of its own, with its time, memory, energy and quality.

    record = run_apart(Run("plain", asdict(recipe)), folder)

A process of its own, because its peak of memory is counted from its start to its end. `how` says
who trains: this project (`transfer`), this project's distillation (`distill`), or a plain
`transformers.Trainer` in the manner of transformers' run_glue.py (`plain`).
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from services.errors import TransferError
from training.checkpoint import METRICS_NAME, read_description, task_of, write_json
from training.recipe import Recipe

ROOT = Path(__file__).parents[2]
SPEC_NAME, RECORD_NAME, CHECKPOINT_NAME = "run.json", "record.json", "checkpoint"
KB_PER_MB = 1024
HOWS = ("transfer", "distill", "plain")

Record = dict[str, Any]
Right = list[bool]


@dataclass(frozen=True)
class Run:
    """how: of `HOWS`; recipe: all its keys; options: of the plain trainer, or the teacher"""

    how: str
    recipe: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


def run_apart(run: Run, folder: Path, given: Path | None = None) -> Record:
    """Train in `folder` and return the record; one that lies there already is read.

    A run that was stopped begins anew: its seconds would be of the rest alone.

    given: a folder that is copied into the checkpoint's before it begins
    Raises TransferError with the last line that the process wrote.
    """
    path = folder / RECORD_NAME
    if path.is_file() and json.loads((folder / SPEC_NAME).read_text("utf-8")) == asdict(run):
        found: Record = json.loads(path.read_text(encoding="utf-8"))
        return found
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    checkpoint = folder / CHECKPOINT_NAME
    shutil.rmtree(checkpoint, ignore_errors=True)
    if given is not None:
        shutil.copytree(given, checkpoint / given.name)
    write_json(folder / SPEC_NAME, asdict(run))
    command = [sys.executable, "-m", "training.studies.measured_run", str(folder.resolve())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no word"]
        raise TransferError(f"A measured training failed: {lines[-1]}", f"See {folder}.")
    made: Record = json.loads(path.read_text(encoding="utf-8"))
    return made


def peak_mb() -> float:
    """The most memory that this process ever had (resident set)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KB_PER_MB


def measure(run: Run, folder: Path) -> Record:
    """Train here and now. `elapsed_s` is from the data on disk to the scored test rows."""
    import torch

    from training.energy import EnergyMeter

    recipe = Recipe(**run.recipe)
    before = peak_mb()
    with EnergyMeter(1.0) as meter:
        started = time.monotonic()
        answered, steps, trained_s, tokens = _train(run, recipe, folder)
        elapsed = time.monotonic() - started
    peak = peak_mb()
    right = answered()
    return {
        "elapsed_s": elapsed,
        "train_s": trained_s,
        "tokens_per_s": tokens / max(trained_s, 1e-9),
        "steps": steps,
        "before_mb": before,
        "peak_mb": peak,
        "energy": meter.record,
        "threads": torch.get_num_threads(),
        "n": len(right),
        "value": sum(right) / len(right),
        "right": [int(one) for one in right],
    }


def _train(run: Run, recipe: Recipe, folder: Path) -> tuple[Callable[[], Right], int, float, int]:
    """(tells which test rows are right, steps, seconds of the loop, real tokens that it read)"""
    if run.how == "plain":
        from training.studies.plain_trainer import train_plain

        right, steps, seconds, tokens = train_plain(recipe, folder / CHECKPOINT_NAME, **run.options)
        return lambda: right, steps, seconds, tokens
    out = folder / CHECKPOINT_NAME
    if run.how == "distill":
        from training.distill import distill

        distill(recipe, Path(run.options["teacher"]), out, progress=False, control=False)
    else:
        from training.finetune import finetune

        finetune(recipe, out, progress=False)
    train = json.loads((out / METRICS_NAME).read_text(encoding="utf-8"))["train"]
    # Scored once already: `metrics.json` has the share of right rows, not which ones they are.
    return lambda: _right(out, recipe), train["steps"], train["wall_time_s"], train["tokens"]


def _right(checkpoint: Path, recipe: Recipe) -> Right:
    """Of a classifier, by test row in scope."""
    from services.windows import TextTokenizer
    from training.evaluate import evaluate
    from training.held_out import exam
    from training.models import TorchRunner, load_model

    description = read_description(checkpoint)
    task = task_of(description, TextTokenizer.load(checkpoint / "tokenizer.json"))
    infer = TorchRunner(
        load_model(description.kind, checkpoint), recipe.kind, task.tokenizer.pad_id
    )
    rows = exam(recipe).rows
    found = evaluate(task, rows, infer, recipe.out_of_scope)
    inside = [row for row in rows if row.labels[0] != recipe.out_of_scope]
    return [a == row.labels[0] for a, row in zip(found.answers, inside, strict=True)]


def main(folder: Path) -> None:
    run = Run(**json.loads((folder / SPEC_NAME).read_text(encoding="utf-8")))
    write_json(folder / RECORD_NAME, measure(run, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
