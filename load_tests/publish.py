"""The report that the repository shows: `docs/results/`, and the README's table and picture.

In: the record of a real run. Out: `docs/results/tradeoff.{json,html,csv,svg}` and the README
rewritten between two marks. Texts of data sets are taken out on the way: the repository holds none.

    python -m load_tests.publish reports/tradeoff.json   # take a run over, and draw all of it
    python -m load_tests.publish                         # draw it again from docs/results
    python -m load_tests.publish --check                 # exit code 1 when something differs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from export.sections import with_section
from load_tests.report.html import page
from load_tests.report.plots import overview
from load_tests.report.record import rounded
from load_tests.report.write import NAME, read_record, table_csv, write
from load_tests.server import ROOT
from load_tests.table import table
from services.errors import TransferError

SECTION = "tradeoff"
README = ROOT / "README.md"
RESULTS = ROOT / "docs" / "results" / f"{NAME}.json"
# Of an example of a labelled row: what is no text of others.
OWN = ("row", "full_score", "variant_score")
LABELS = ("right", "full", "variant")


def without_texts(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with row numbers in place of labelled texts; names of classes stay."""
    return {**record, "variants": [_row_without_texts(row) for row in record["variants"]]}


def _row_without_texts(row: Mapping[str, Any]) -> dict[str, Any]:
    found = row.get("disagreement")
    if not found:
        return dict(row)
    kept = (*OWN, *LABELS) if row["task"] == "classify" else OWN
    worst = [{k: v for k, v in one.items() if k in kept} for one in found.get("worst", ())]
    return {**row, "disagreement": {**found, "worst": worst}}


def readme_with(readme: str, record: dict[str, Any], picture: str) -> str:
    """The README's text with a fresh table and picture between the marks.

    picture: the path of the SVG from the README. Raises UsageError without the marks.
    """
    shown = f"![Quality against p99 of every variant]({picture})"
    return with_section(readme, SECTION, f"{table(record)}\n{shown}")


def expected(readme: Path, results: Path) -> dict[Path, str]:
    """What every generated file should hold."""
    record = rounded(read_record(results))
    svg = results.with_suffix(".svg")
    picture = svg.relative_to(readme.parent).as_posix()
    return {
        results.with_suffix(".html"): page(record),
        results.with_suffix(".csv"): table_csv(record),
        svg: overview(record),
        readme: readme_with(readme.read_text(encoding="utf-8"), record, picture),
    }


def drifted(readme: Path = README, results: Path = RESULTS) -> list[Path]:
    """The generated files that are not what the record makes."""
    return [
        path
        for path, text in expected(readme, results).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def draw(readme: Path = README, results: Path = RESULTS) -> list[Path]:
    """Write the generated files anew; returns those that changed."""
    changed = drifted(readme, results)
    for path, text in expected(readme, results).items():
        if path in changed:
            path.write_text(text, encoding="utf-8")
    return changed


def take_over(run: Path, results: Path = RESULTS) -> None:
    """Store the record of a run as the published one."""
    write(without_texts(read_record(run)), results.parent)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, help="tradeoff.json of a run to take over")
    parser.add_argument("--check", action="store_true", help="only say whether files differ")
    parser.add_argument("--readme", type=Path, default=README)
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen)
    except TransferError as error:
        print(error, file=sys.stderr)
        return 2


def _run(chosen: argparse.Namespace) -> int:
    if chosen.check:
        for path in (found := drifted(chosen.readme, chosen.results)):
            command = "python -m load_tests.publish"
            print(f"{path} differs from {chosen.results}; run `{command}`.", file=sys.stderr)
        return int(bool(found))
    if chosen.run:
        take_over(chosen.run, chosen.results)
    for path in draw(chosen.readme, chosen.results):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
