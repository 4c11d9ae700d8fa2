"""The record of `python -m load_tests.soak`, part by part, and the table in docs/security.md.

python -m load_tests.soak.report            # write the table again
python -m load_tests.soak.report --check    # exit code 1 when it is another one
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.sections import with_section
from load_tests.peers.report import number, rounded
from load_tests.report.write import read_record
from load_tests.server import ROOT
from services.errors import TransferError

Row = dict[str, Any]

RESULTS = ROOT / "docs" / "results" / "soak.json"
DOCUMENT = ROOT / "docs" / "security.md"
SECTION = "soak"
HEADER = "| part | figure | value | target | reached |\n| --- | --- | ---: | --- | --- |"


def write(record: Row, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(record), indent=1) + "\n", encoding="utf-8")


def missed(record: Row) -> list[str]:
    """The figures that did not reach their target."""
    return [
        f"{name}: {row['name']} is {number(row['value'])} {row['unit']}".strip()
        for name, part in record["parts"].items()
        for row in part["figures"]
        if row.get("reached") is False
    ]


def table(record: Row) -> str:
    """Every figure, then how each part was measured."""
    rows = [_line(name, row) for name, part in record["parts"].items() for row in part["figures"]]
    notes = [_note(name, part["environment"]) for name, part in record["parts"].items()]
    return "\n".join([HEADER, *rows, "", *notes])


def _line(part: str, row: Row) -> str:
    reached = {True: "yes", False: "**no**"}.get(row.get("reached"), "")  # type: ignore[call-overload]
    value = f"{number(row['value'])} {row['unit']}".strip()
    return f"| {part} | {row['name']} | {value} | {row.get('target', '')} | {reached} |"


def _note(name: str, at: Row) -> str:
    idle = at.get("validity", {}).get("idle_machine", True)
    disturbed = "" if idle else " OTHER PROGRAMS USED THE MACHINE."
    return (
        f"- `{name}`: {at.get('measured')}, {at.get('took_s', 0):.0f} s, {at.get('cores', '?')}"
        f" cores ({at.get('cpu', 'unknown CPU')}), commit {at.get('commit', 'unknown')}, "
        f"`{at.get('command')}`.{disturbed}"
    )


def document_with(document: str, record: Row) -> str:
    """The document's text with a fresh table between its marks; raises UsageError without them."""
    return with_section(document, SECTION, table(record))


def draw(results: Path = RESULTS, document: Path = DOCUMENT, *, check: bool = False) -> bool:
    """Whether the document had another table; it is written unless it is only to be checked."""
    before = document.read_text(encoding="utf-8")
    now = document_with(before, read_record(results))
    if now != before and not check:
        document.write_text(now, encoding="utf-8")
    return now != before


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether it differs")
    chosen = parser.parse_args(arguments)
    try:
        other = draw(check=chosen.check)
    except TransferError as error:
        print(error, file=sys.stderr)
        return 2
    return int(other and chosen.check)


if __name__ == "__main__":
    raise SystemExit(main())
