"""Measure the service against its ceiling and its peers, in one run.

    python -m load_tests.peers --quick                 # every part, seconds each: does it all work
    python -m load_tests.peers                         # the figures of docs/results/peers.md
    python -m load_tests.peers --only classify,qa      # parts; the others keep their last figures

A peer that is not installed is left out and named. Exit codes: 0 measured, 1 a part failed (or,
with --check, a target was missed), 2 wrong usage, wrk missing among it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load_tests.choices import chosen, unknown
from load_tests.environment import busy_before, environment
from load_tests.modules import LoadError
from load_tests.peers import (
    classify,
    footprint,
    latency,
    long_context,
    questions,
    report,
    seq2seq,
)
from load_tests.peers.plan import QUICK, THOROUGH, VARIANTS, Plan
from load_tests.progress import Progress
from load_tests.texts import LONG_WORDS, SHORT_WORDS
from load_tests.wrk import require_wrk, wrk_version
from services.errors import TransferError, UsageError

Part = Callable[[Plan, Callable[[str], None]], dict[str, Any]]

PARTS: dict[str, Part] = {
    "classify": classify.measure,
    "latency": latency.measure,
    "qa": questions.measure,
    "long": long_context.measure,
    "memory": footprint.measure,
    "seq2seq": seq2seq.measure,
}
ON_REQUEST = "seq2seq"  # needs a checkpoint that does not ship


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m load_tests.peers", description=(__doc__ or "").splitlines()[0]
    )
    made.add_argument("--quick", action="store_true", help="a second a phase, two rounds")
    made.add_argument("--only", default="", help=f"of {', '.join(PARTS)}, with commas")
    made.add_argument("--seconds", type=int, help="of each phase")
    made.add_argument("--rounds", type=int, help="how often each phase is taken")
    made.add_argument("--variants", default="", help=f"of {', '.join(VARIANTS)}")
    made.add_argument("--words", default="", help=f"of {SHORT_WORDS}, {LONG_WORDS}")
    made.add_argument("--squad", type=Path, help="a SQuAD file in place of the sample manuals")
    made.add_argument("--checkpoints", type=Path, help="MODEL/{full,distilled}, torch weights")
    made.add_argument("--seq2seq", type=Path, help="a BART-shaped checkpoint")
    made.add_argument("--seq2seq-onnx", type=Path, help="its int8 graphs, to measure ours")
    made.add_argument("--out", type=Path, help="the record; default: docs/results, quick: reports")
    made.add_argument("--check", action="store_true", help="exit code 1 when a target is missed")
    return made


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for; raises UsageError with all faults."""
    plan = QUICK if options.quick else THOROUGH
    given = ("seconds", "rounds", "squad", "checkpoints", "seq2seq", "seq2seq_onnx")
    found = {name: getattr(options, name) for name in given if getattr(options, name) is not None}
    faults = [
        f"--{name} is {found[name]}; expected at least 1."
        for name in ("seconds", "rounds")
        if found.get(name, 1) < 1
    ]
    if options.variants:
        found["variants"] = tuple(options.variants.split(","))
        faults += unknown("--variants", found["variants"], VARIANTS)
    if options.words:
        known = (str(SHORT_WORDS), str(LONG_WORDS))
        names = options.words.split(",")
        faults += unknown("--words", names, known)
        found["words"] = tuple(int(name) for name in names if name in known)
    if faults:
        raise UsageError(" ".join(faults), "See --help.")
    return replace(plan, **found)


def parts_of(options: argparse.Namespace) -> list[str]:
    """The parts to measure: those named, or all that need no more than what ships."""
    if not options.only:
        return [name for name in PARTS if name != ON_REQUEST or options.seq2seq]
    return chosen("--only", options.only, PARTS)


def run(plan: Plan, parts: Sequence[str], out: Path, command: str) -> dict[str, Any]:
    """Measure the parts one after the other; each is written as soon as it is there.

    A part that fails is told and does not keep the others from being measured; then TransferError
    is raised with the parts that failed.
    """
    version = require_wrk() and wrk_version()
    progress = Progress(len(parts))
    record: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name in parts:
        progress.step(name)
        validity = busy_before()
        began = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            measured = PARTS[name](plan, lambda words: print(f"  {words}", file=sys.stderr))
        except TransferError as error:
            failed[name] = f"{error.message} {error.hint}".strip()
            print(f"  {name} failed: {failed[name]}", file=sys.stderr)
            continue
        about = environment()
        about["versions"]["wrk"] = version
        about |= {"measured": began, "command": command, "validity": validity}
        about["plan"] = json.loads(json.dumps(asdict(plan), default=_name))
        about["artifacts"] = measured.pop("artifacts")
        record = report.merged(out, {name: {"environment": about, **measured}})
        report.write(record, out)
    progress.close(f"done: {out}")
    if failed:
        told = " ".join(f"{name}: {why}" for name, why in failed.items())
        raise LoadError(f"{len(failed)} of {len(parts)} parts failed. {told}", f"Measured: {out}")
    return record


def _name(path: Path) -> str:
    """The last part of a path: where it lies is this machine's business."""
    return path.name


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    given = sys.argv[1:] if arguments is None else list(arguments)
    default = Path("reports/peers.json") if options.quick else report.RESULTS
    try:
        plan, parts = plan_of(options), parts_of(options)
        record = run(plan, parts, options.out or default, _command(given))
    except TransferError as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    print(report.table(record))
    return 1 if options.check and report.missed(record) else 0


def _command(given: Sequence[str]) -> str:
    """The command as it can be run elsewhere: paths cut to their names."""
    shown = [Path(one).name if "/" in one else one for one in given]
    return shlex.join(["python", "-m", "load_tests.peers", *shown])


if __name__ == "__main__":
    raise SystemExit(main())
