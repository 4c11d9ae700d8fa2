"""The files of a report: `tradeoff.html`, `.csv`, `latencies.jsonl.gz`, and last `tradeoff.json`.

In: a record and every latency. Out: the path of the page. The JSON is written last: its existence
means that the report is complete.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from load_tests.report.columns import COLUMNS, EXTRA
from load_tests.report.html import page
from load_tests.report.record import rounded
from services.errors import UsageError

Row = Mapping[str, Any]

NAME = "tradeoff"


def write(record: Row, out: Path, raw: Sequence[Row] = ()) -> Path:
    """Write all of them into `out`; without `raw` there are no latencies to keep."""
    out.mkdir(parents=True, exist_ok=True)
    kept = rounded(dict(record))
    html = out / f"{NAME}.html"
    html.write_text(page(kept), encoding="utf-8")
    (out / f"{NAME}.csv").write_text(table_csv(kept), encoding="utf-8")
    if raw:
        with gzip.open(out / "latencies.jsonl.gz", "wt", encoding="utf-8") as file:
            for phase in raw:
                file.write(json.dumps(rounded(phase)) + "\n")
    text = json.dumps(kept, indent=1, ensure_ascii=False)
    (out / f"{NAME}.json").write_text(text + "\n", encoding="utf-8")
    return html


def table_csv(record: Row) -> str:
    """One line a variant."""
    columns = (*COLUMNS, *EXTRA)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.key for column in columns])
    for row in record["variants"]:
        values = [column.value(row) for column in columns]
        writer.writerow(["" if value is None else value for value in values])
    return file.getvalue()


def read_record(path: Path) -> dict[str, Any]:
    """A record that was written; raises UsageError when there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is not a readable record ({error}).", "Run `transfer bench`."
        ) from error
