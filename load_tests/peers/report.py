"""The record of a run, part by part, and its Markdown table.

In: what the parts measured. Out: a JSON file in which a part that is measured again replaces its
older self, and beside it the table that is made of it. To make the table again:

    python -m load_tests.peers.report docs/results/peers.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from load_tests.report.write import read_record
from load_tests.server import ROOT
from services.errors import TransferError

Row = dict[str, Any]

RESULTS = ROOT / "docs" / "results" / "peers.json"
DIGITS = 6
HEADER = ("figure", "value", "target", "reached", "spread", "how")


def merged(path: Path, parts: Mapping[str, Row]) -> Row:
    """The record at `path`, where there is one, with `parts` in place of its own."""
    before = read_record(path)["parts"] if path.is_file() else {}
    return {"parts": {**before, **parts}}


def write(record: Row, path: Path) -> None:
    """The record, and its table beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(record), indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(table(record), encoding="utf-8")


def rounded(value: Any) -> Any:
    """Floats to six significant digits: more is noise, and makes diffs long."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value


def missed(record: Row) -> list[str]:
    """The names of the figures that did not reach their target."""
    return [row["name"] for row in _figures(record) if row.get("reached") is False]


def _figures(record: Row) -> list[Row]:
    return [row for part in record["parts"].values() for row in part["figures"]]


def table(record: Row) -> str:
    """Figures with a target first, then what they were made of, then how it was measured."""
    rows = _figures(record)
    aimed = [row for row in rows if "target" in row]
    rest = [row for row in rows if "target" not in row]
    cells = [(*_cells(row), row.get("how", "")) for row in aimed]
    parts = [_lines(HEADER, cells)] if aimed else []
    if rest:
        cells = [(*_cells(row)[:2], _cells(row)[4], row.get("how", "")) for row in rest]
        parts.append(_lines(("measured", "value", "spread", "how"), cells))
    parts.append("\n".join(_note(name, part) for name, part in record["parts"].items()))
    return "\n\n".join(parts) + "\n"


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    every = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in every)


def _cells(row: Row) -> tuple[str, ...]:
    low, high = row["spread"]
    value = f"{number(row['value'])} {row['unit']}"
    spread = f"{number(low)} to {number(high)}, n={row['rounds']}"
    return row["name"], value, row.get("target", ""), _reached(row), spread


def _reached(row: Row) -> str:
    if "reached" not in row:
        return ""
    if row.get("stretch_reached"):
        return "yes, stretch too"
    return "yes" if row["reached"] else "**no**"


def number(value: float) -> str:
    """Three digits, thousands with a comma."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _note(name: str, part: Row) -> str:
    at = part["environment"]
    plan = at["plan"]
    flags = ", ".join(at.get("cpu_flags", []))
    versions = ", ".join(f"{package} {v}" for package, v in at.get("versions", {}).items())
    busy = at.get("validity", {})
    disturbed = "" if busy.get("idle_machine", True) else " OTHER PROGRAMS USED THE MACHINE."
    return (
        f"- `{name}`: {at.get('measured')}, {at.get('cores', '?')} cores"
        f" ({at.get('cpu', 'unknown CPU')}; {flags}), {plan['rounds']} rounds of"
        f" {plan['seconds']} s, commit {at.get('commit', 'unknown')}, `{at.get('command')}`."
        f"{disturbed} {versions}.{''.join(f' {why}.' for why in part.get('left_out', []))}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("record", type=Path, nargs="?", default=RESULTS)
    path = parser.parse_args(arguments).record
    try:
        path.with_suffix(".md").write_text(table(read_record(path)), encoding="utf-8")
    except TransferError as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
