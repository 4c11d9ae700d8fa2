"""The texts on which variants are compared with `full`: the sample data of this repository.

In: `training/samples/`. Out: request bodies of one text each, spread evenly over the file. There
are more of them than examples of the API, and nobody chose them for being easy. Used by
`transfer bench`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from load_tests.server import ROOT

Body = dict[str, Any]

FOLDER = ROOT / "training" / "samples"


def sample_items(
    task: str, model: str, *, labels: list[str] | None = None, limit: int = 100
) -> list[Body]:
    """At most `limit` bodies for `model`; empty where the sample data is not at hand."""
    name, read = SOURCES[task]
    if not (FOLDER / name).is_file():
        return []
    found = list(read(FOLDER / name))
    step = max(1, len(found) // limit)
    extra = {"labels": labels} if labels else {}
    return [{**body, "model": model, **extra} for body in found[::step][:limit]]


def _tickets(path: Path) -> Iterator[Body]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield {"text": json.loads(line)["text"]}


def _reports(path: Path) -> Iterator[Body]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield {"text": " ".join(json.loads(line)["sentences"])}


def _questions(path: Path) -> Iterator[Body]:
    """SQuAD's format."""
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                yield {"question": qa["question"], "context": paragraph["context"]}


SOURCES: dict[str, tuple[str, Callable[[Path], Iterator[Body]]]] = {
    "classify": ("support_tickets.jsonl", _tickets),
    "qa": ("product_manuals.json", _questions),
    "summarize": ("incident_reports.jsonl", _reports),
}
