"""Ask the service what no client should, with real server processes, and measure how it bears it.

    python -m load_tests.soak                        # everything: about a quarter of an hour
    python -m load_tests.soak --only overload,body   # parts; the others keep their last figures
    python -m load_tests.soak --short                # every part, seconds each: does it all work
    python -m load_tests.soak --only soak --minutes 2

The record goes to docs/results/soak.json and its table into docs/security.md; with --short to
reports/. Exit codes: 0 every figure reached, 1 one was missed or a part failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load_tests.choices import chosen
from load_tests.environment import busy_before, environment
from load_tests.peers.report import merged
from load_tests.progress import Progress
from load_tests.soak import body, disconnects, overload, raw, report, slow, steady
from load_tests.soak.plan import SHORT, THOROUGH, Plan, Row, Say
from services.errors import TransferError, UsageError

PARTS: dict[str, Callable[[Plan, Say], Row]] = {
    "body": body.measure,
    "disconnects": disconnects.measure,
    "slow": slow.measure,
    "raw": raw.measure,
    "overload": overload.measure,
    "soak": steady.measure,
}
NUMBERS = ("minutes", "seconds", "cases", "aborts", "rate")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m load_tests.soak", description=(__doc__ or "").splitlines()[0]
    )
    made.add_argument("--short", action="store_true", help="seconds for each part")
    made.add_argument("--only", default="", help=f"of {', '.join(PARTS)}, with commas")
    made.add_argument("--minutes", type=float, help="of mixed load")
    made.add_argument("--seconds", type=float, help="of overload")
    made.add_argument("--cases", type=int, help="of the raw part")
    made.add_argument("--aborts", type=int, help="requests broken off")
    made.add_argument("--rate", type=float, help="requests a second of the mixed load")
    made.add_argument("--variants", default="", help="what is served; default: as each part needs")
    made.add_argument("--out", type=Path, help="the record; default: docs/results, short: reports")
    return made


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for; raises UsageError with all faults."""
    plan = SHORT if options.short else THOROUGH
    found: dict[str, Any] = {
        name: value for name in NUMBERS if (value := getattr(options, name)) is not None
    }
    faults = [
        f"--{name} is {value}; expected more than 0." for name, value in found.items() if value <= 0
    ]
    if faults:
        raise UsageError(" ".join(faults), "See --help.")
    if options.variants:
        found["variants"] = tuple(options.variants.split(","))
    return replace(plan, **found)


def run(plan: Plan, parts: Sequence[str], out: Path, command: str) -> Row:
    """Measure the parts one after the other; each is written as soon as it is there."""
    progress = Progress(len(parts))
    record: Row = {"parts": {}}
    for name in parts:
        progress.step(name)
        about = {"validity": busy_before(), "command": command, **environment()}
        about["measured"] = datetime.now(UTC).isoformat(timespec="seconds")
        began = time.monotonic()
        measured = PARTS[name](plan, lambda words: print(f"  {words}", file=sys.stderr))
        about["took_s"] = time.monotonic() - began
        for row in measured["figures"]:
            if row.get("reached") is False:
                print(f"  MISSED: {row['name']}: {row['value']}", file=sys.stderr)
        record = merged(out, {name: {"environment": about, **measured}})
        report.write(record, out)
    progress.close(f"done: {out}")
    return record


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    given = sys.argv[1:] if arguments is None else list(arguments)
    default = Path("reports/soak.json") if options.short else report.RESULTS
    out = options.out or default
    try:
        plan, parts = plan_of(options), chosen("--only", options.only, PARTS)
        record = run(plan, parts, out, _command(given))
        if out == report.RESULTS:
            report.draw()
    except TransferError as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    measured = {"parts": {name: record["parts"][name] for name in parts}}
    print(report.table(measured))
    return int(bool(report.missed(measured)))


def _command(given: Sequence[str]) -> str:
    """The command as it can be run elsewhere: paths cut to their names."""
    shown = [Path(one).name if Path(one).is_absolute() else one for one in given]
    return shlex.join(["python", "-m", "load_tests.soak", *shown])


if __name__ == "__main__":
    raise SystemExit(main())
