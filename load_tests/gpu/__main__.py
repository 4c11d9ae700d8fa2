"""Measure every variant on this machine's GPU, and the int8 ones on its CPU beside it.

    python -m load_tests.gpu --quick                        # does it all work: reports/gpu.json
    python -m load_tests.gpu                                # docs/results/gpu.json and its table
    python -m load_tests.gpu --variants variants/ --data intent=test.jsonl

Exit codes: 0 measured, 1 a variant could not be measured, 2 wrong usage, no GPU among it.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load_tests.bodies import items, zero_shot_labels
from load_tests.environment import busy_before, environment
from load_tests.gpu.found import Found, find_variants, without_fp16
from load_tests.gpu.plan import QUICK, THOROUGH, Plan
from load_tests.gpu.rows import read_rows
from load_tests.gpu.table import RECORD, section, update_document
from load_tests.modules import LoadError, run_module
from load_tests.progress import Progress
from load_tests.samples import sample_items
from services.compare import agreement
from services.errors import TransferError, UsageError
from services.gpu import find_device
from services.providers import UnavailableError, cuda_fault
from services.settings import Settings, prepare_bentoml

Row = dict[str, Any]
Observe = Callable[[Row], Row]

TIMEOUT_S = 1800.0  # of one variant; a writer on a CPU takes its time
DIGITS = 6


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m load_tests.gpu", description=(__doc__ or "").splitlines()[0]
    )
    made.add_argument("--quick", action="store_true", help="a fifth of a second a point")
    made.add_argument("--variants", type=Path, help="folder of built variants, not the lock's")
    made.add_argument("--models", default="", help="only these, with commas")
    made.add_argument("--data", action="append", default=[], metavar="MODEL=FILE")
    made.add_argument("--out", type=Path, help="default: docs/results/gpu.json, quick: reports/")
    return made


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for; raises UsageError."""
    pairs = [one.partition("=") for one in options.data]
    if wrong := [one for one in pairs if not (one[0] and one[2])]:
        raise UsageError(f"--data {''.join(wrong[0])} names no file.", "Write MODEL=FILE.")
    data = tuple((model, Path(file)) for model, _, file in pairs)
    return replace(QUICK if options.quick else THOROUGH, data=data)


def require_gpu() -> None:
    """Raises UnavailableError that says what is missing."""
    if fault := cuda_fault():
        raise UnavailableError(f"There is no GPU to measure: {fault[0]}.", fault[1])


def measure_all(
    found: Sequence[Found], plan: Plan, memory_mb: int, ask: Observe, tell: Callable[[str], None]
) -> list[Row]:
    """A row for every variant; one that fails has a `fault` in place of figures.

    ask: runs `load_tests.gpu.worker` on a request
    """
    rows: list[Row] = []
    reference: dict[tuple[str, str], list[Row]] = {}
    for one in found:
        tell(f"{one.key} on {one.provider}")
        row: Row = {
            "task": one.manifest.task,
            "model": one.manifest.model,
            "variant": one.manifest.variant,
            "precision": one.manifest.precision,
            "on": "GPU" if one.provider == "cuda" else "CPU",
        }
        rows.append(row)
        try:
            measured = ask({**request_of(one, plan), "memory_mb": memory_mb})
        except LoadError as error:
            row["fault"] = str(error).strip().splitlines()[-1]
            continue
        answers = measured.pop("answers")
        row |= {name: value for name, value in measured.items() if value is not None}
        role = (one.manifest.model, one.role)
        if one.manifest.precision == "fp32":
            reference[role] = answers
        elif role in reference:
            row["agreement_with_fp32"] = agreement(one.manifest.task, reference[role], answers)
            row["agreement_n"] = len(answers)
    return rows


def request_of(one: Found, plan: Plan) -> Row:
    """What the worker is asked about one variant."""
    manifest = one.manifest
    labels = zero_shot_labels() if manifest.kind == "zero-shot" else None
    bodies = sample_items(manifest.task, manifest.model, labels=labels, limit=plan.samples)
    windows = plan.windows if one.provider == "cuda" else plan.cpu_windows
    if manifest.kind == "seq2seq":
        windows = plan.writing_windows
    file = dict(plan.data).get(manifest.model)
    return {
        "folder": str(one.folder),
        "provider": one.provider,
        "seconds": plan.seconds,
        "tokens": plan.tokens,
        "windows": windows,
        "mixed": plan.mixed,
        "bodies": bodies or items(manifest.task, manifest.model, labels=labels),
        "rows": read_rows(file, manifest.task) if file else [],
    }


def record_of(found: Sequence[Found], rows: Sequence[Row], plan: Plan, command: str) -> Row:
    about = {
        **environment(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "plan": {**asdict(plan), "data": {model: file.name for model, file in plan.data}},
    }
    return {
        "device": asdict(find_device()),
        "environment": about,
        "variants": list(rows),
        "without_fp16": without_fp16(found),
    }


def run(options: argparse.Namespace, command: str) -> int:
    prepare_bentoml()
    plan, settings = plan_of(options), Settings.from_environment()
    require_gpu()
    models = [name for name in options.models.split(",") if name]
    found = find_variants(settings.lock, options.variants, models)
    validity = busy_before()
    progress = Progress(len(found))

    def ask(request: Row) -> Row:
        answered: Row = run_module("load_tests.gpu.worker", request, TIMEOUT_S)
        return answered

    rows = measure_all(found, plan, settings.gpu_memory_mb, ask, progress.step)
    record = record_of(found, rows, plan, command)
    record["environment"]["validity"] = validity
    out = options.out or (Path("reports/gpu.json") if options.quick else RECORD)
    write(record, out)
    if out == RECORD:
        update_document(record)
    progress.close(f"done: {out}")
    print(section(record))
    return 1 if any("fault" in row for row in rows) else 0


def write(record: Row, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(record), indent=1) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Floats to six significant digits: more is noise, and makes diffs long."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _command(given: Sequence[str]) -> str:
    """The command as it can be run elsewhere: paths cut to their names."""
    shown = [re.sub(r"[^=]*/", "", one) for one in given]
    return shlex.join(["python", "-m", "load_tests.gpu", *shown])


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return run(options, _command(given))
    except TransferError as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


if __name__ == "__main__":
    raise SystemExit(main())
