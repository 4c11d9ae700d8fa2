"""Files and hub data sets into records: one reader per format, one mapping of names.

JSONL, CSV and TSV, Parquet, SQuAD JSON, JSON of splits (`{"train": [[text, label], ...]}`), and a
Hugging Face `datasets` id. A folder holds one file per split, named train*, dev*/val* and test*.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.errors import UsageError
from training.recipe import Recipe

DEFAULT_SPLITS: dict[str, list[str]] = {"train": ["train"], "dev": ["dev"], "test": ["test"]}
ALIASES = {"dev": ("dev", "validation", "val", "valid"), "val": ("val", "validation", "dev")}


@dataclass(frozen=True)
class Record:
    """One raw row: where it was found, and its fields under our names."""

    where: str
    fields: dict[str, Any]


def read_source(recipe: Recipe) -> dict[str, list[Record]]:
    """Records by split. A source without splits comes back as one split, "train"."""
    path = Path(recipe.data).expanduser()
    if path.is_dir():
        raw = {name: list(_read_file(file, recipe)) for name, file in _split_files(path, recipe)}
    elif path.is_file():
        raw = _read_splits(path, recipe)
    else:
        raw = _read_hub(recipe)
    return {split: _renamed(records, recipe) for split, records in _choose(raw, recipe).items()}


def _wanted(recipe: Recipe) -> dict[str, list[str]]:
    if not recipe.splits:
        return DEFAULT_SPLITS
    return {
        ours: [theirs] if isinstance(theirs, str) else theirs
        for ours, theirs in recipe.splits.items()
    }


def _choose(raw: Mapping[str, list[Record]], recipe: Recipe) -> dict[str, list[Record]]:
    """Our splits from theirs; several of theirs may make one of ours, absent ones are left out."""
    chosen: dict[str, list[Record]] = {}
    for ours, names in _wanted(recipe).items():
        present = [found for name in names if (found := _find_name(name, raw)) is not None]
        if present:
            chosen[ours] = [record for name in present for record in raw[name]]
    if not chosen:
        found = ", ".join(raw) or "none"
        raise UsageError(
            f"{recipe.data}: none of the wanted splits; found {found}.",
            "Name them in the recipe: `splits: {train: NAME, test: NAME}`.",
        )
    return chosen


def _find_name(name: str, names: Iterable[str]) -> str | None:
    candidates = ALIASES.get(name, (name,))
    return next((alias for alias in candidates if alias in names), None)


def _split_files(folder: Path, recipe: Recipe) -> Iterator[tuple[str, Path]]:
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in READERS]
    for names in _wanted(recipe).values():
        for name in names:
            stems = ALIASES.get(name, (name,))
            for file in files:
                if any(_is_split(file.stem.lower(), stem) for stem in stems):
                    yield name, file
                    break
    if not files:
        raise UsageError(
            f"{folder} holds no data file; expected {', '.join(sorted(READERS))}.",
            "Point `data=` at a file or at a folder with train and test files.",
        )


def _is_split(stem: str, split: str) -> bool:
    return stem == split or stem.startswith((f"{split}-", f"{split}_", f"{split}."))


def _read_splits(path: Path, recipe: Recipe) -> dict[str, list[Record]]:
    """A single file: JSON of splits keeps its splits, everything else is one split."""
    if path.suffix.lower() == ".json":
        content = _load_json(path)
        if isinstance(content, dict) and "data" not in content:
            return {
                split: [
                    Record(f"{path.name}:{split}[{i}]", _pair_fields(row))
                    for i, row in enumerate(rows)
                ]
                for split, rows in content.items()
                if isinstance(rows, list)
            }
    return {"train": list(_read_file(path, recipe))}


def _pair_fields(row: Any) -> dict[str, Any]:
    if isinstance(row, dict):
        return row
    return dict(zip(("text", "label"), row, strict=False)) if isinstance(row, list) else {}


def _read_file(path: Path, recipe: Recipe) -> Iterator[Record]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path} has an unknown format {path.suffix!r}; expected {', '.join(sorted(READERS))}."
        )
    return reader(path, recipe)


def _read_jsonl(path: Path, recipe: Recipe) -> Iterator[Record]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{path.name}:{number}"
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
            except json.JSONDecodeError as error:
                fields = {"": f"not JSON: {error}"}
            yield Record(where, fields if isinstance(fields, dict) else {"": fields})


def _read_csv(path: Path, recipe: Recipe) -> Iterator[Record]:
    """With a header, unless the recipe names columns by position."""
    by_position = any(isinstance(column, int) for column in recipe.columns.values())
    tabs = path.suffix.lower() == ".tsv"
    with path.open(encoding="utf-8", newline="") as file:
        quoting = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
        rows = csv.reader(file, delimiter="\t" if tabs else ",", quoting=quoting)
        header = None if by_position else next(rows, [])
        if header is not None:
            _check_header(path, header, recipe)
        for row in rows:
            if row:
                names = header if header is not None else [str(i) for i in range(len(row))]
                yield Record(f"{path.name}:{rows.line_num}", dict(zip(names, row, strict=False)))


def _check_header(path: Path, header: list[str], recipe: Recipe) -> None:
    missing = [
        f"{theirs!r}" for theirs in map(str, recipe.columns.values()) if theirs not in header
    ]
    if missing:
        raise UsageError(
            f"{path.name} has no column {', '.join(missing)}; its columns are {', '.join(header)}.",
            "Name them in the recipe, e.g. `columns={text: body, label: team}`.",
        )


def _read_parquet(path: Path, recipe: Recipe) -> Iterator[Record]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    for number, fields in enumerate(table.to_pylist(), 1):
        yield Record(f"{path.name}: row {number}", fields)


def _read_squad(path: Path, recipe: Recipe) -> Iterator[Record]:
    content = _load_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise UsageError(f"{path} is not SQuAD JSON; expected an object with a list under 'data'.")
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                answers = [] if qa.get("is_impossible") else qa.get("answers", [])
                yield Record(
                    f"{path.name}: question {qa.get('id')}",
                    {
                        "id": qa.get("id"),
                        "question": qa.get("question"),
                        "context": paragraph.get("context"),
                        "title": article.get("title"),
                        "answers": answers,
                    },
                )


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} is not JSON: {error}.") from error


READERS = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".json": _read_squad,
}


def _read_hub(recipe: Recipe) -> dict[str, list[Record]]:
    import datasets

    try:
        found = datasets.load_dataset(recipe.data, recipe.data_config or None)
    except Exception as error:  # datasets raises a dozen unrelated types for "not there"
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"{recipe.data} is no file or folder here and no data set on the hub ({reason}).",
            "Give local files with `data=PATH`, or run where the Hugging Face hub can be reached.",
        ) from error
    return {split: list(_hub_records(split, table)) for split, table in found.items()}


def _hub_records(split: str, table: Any) -> Iterator[Record]:
    """Records of one hub split, with class numbers turned into their names."""
    names = {
        column: feature if hasattr(feature, "int2str") else getattr(feature, "feature", None)
        for column, feature in table.features.items()
    }
    for number, row in enumerate(table):
        for column, feature in names.items():
            if hasattr(feature, "int2str") and row[column] is not None:
                row[column] = feature.int2str(row[column])
        yield Record(f"{split}[{number}]", row)


def _renamed(records: list[Record], recipe: Recipe) -> list[Record]:
    """Columns under our names, label numbers under their names."""
    names = _label_names(recipe)
    return [Record(record.where, _rename(record.fields, recipe, names)) for record in records]


def _rename(fields: dict[str, Any], recipe: Recipe, names: list[str]) -> dict[str, Any]:
    renamed = dict(fields)
    for ours, theirs in recipe.columns.items():
        if str(theirs) in fields:
            renamed[ours] = fields[str(theirs)]
    if names:
        for key in ("label", "labels"):
            if key in renamed:
                renamed[key] = _named(renamed[key], names, recipe)
    return renamed


def _named(value: Any, names: list[str], recipe: Recipe) -> Any:
    parts = value if isinstance(value, list) else str(value).split(recipe.label_separator)
    named = [names[int(part)] if str(part).isdigit() else str(part) for part in parts]
    return named if recipe.multi_label else named[0]


def _label_names(recipe: Recipe) -> list[str]:
    if isinstance(recipe.label_names, list):
        return recipe.label_names
    source = Path(recipe.data).expanduser()
    file = (source if source.is_dir() else source.parent) / recipe.label_names
    if not recipe.label_names or not file.is_file():
        return []  # a hub data set brings its names along
    return file.read_text(encoding="utf-8").split()
