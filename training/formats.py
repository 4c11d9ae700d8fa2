"""Files and hub data sets into records: one reader per format, one mapping of names.

JSONL, CSV and TSV, Parquet, SQuAD JSON, JSON of splits (`{"train": [[text, label], ...]}`), and a
Hugging Face `datasets` id. A folder holds one file per split, named train*, dev*/val* and test*.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.errors import UsageError
from training.recipe import Recipe

DEFAULT_SPLITS: dict[str, list[str]] = {"train": ["train"], "dev": ["dev"], "test": ["test"]}
MAX_CELL = 10_000_000  # characters; Python's own limit for CSV is 131,072
ALIASES = {"dev": ("dev", "validation", "val", "valid"), "val": ("val", "validation", "dev")}


# kind -> what its rows need; one of each tuple
NEEDED: dict[str, list[tuple[str, ...]]] = {
    "sequence-classification": [("text",), ("label", "labels")],
    "question-answering": [("question",), ("context",), ("answers",)],
    "sentence-extraction": [("sentences", "text")],
    "seq2seq": [("text", "sentences"), ("references",)],
}
HIDDEN_LABEL = -1  # of test rows whose labels are not public
SHARD = re.compile(r"-\d+-of-\d+$")  # how the hub numbers the parts of one split


@dataclass(frozen=True)
class Record:
    """One raw row: where it was found, and its fields under our names.

    fault: why it could not be read at all
    """

    where: str
    fields: dict[str, Any]
    fault: str = ""


def read_source(recipe: Recipe) -> dict[str, list[Record]]:
    """Records by split. A source without splits comes back as one split, "train"."""
    path = Path(recipe.data).expanduser()
    if path.is_dir():
        raw = {
            name: [record for file in files for record in _read_file(file, recipe)]
            for name, files in _split_files(path, recipe)
        }
    elif path.is_file():
        raw = _read_splits(path, recipe)
    else:
        raw = _read_hub(recipe)
    raw = {split: _kept(records, recipe) for split, records in raw.items()}
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
    return next((alias for alias in _aliases(name) if alias in names), None)


def _aliases(name: str) -> tuple[str, ...]:
    return ALIASES.get(name, (name,))


def _split_files(folder: Path, recipe: Recipe) -> Iterator[tuple[str, list[Path]]]:
    """The files of each wanted split: one, or all parts of one."""
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in READERS]
    if not files:
        raise UsageError(
            f"{folder} holds no data file; expected {', '.join(sorted(READERS))}.",
            "Point `data=` at a file or at a folder with train and test files.",
        )
    for name in {name: None for names in _wanted(recipe).values() for name in names}:
        found = _files_of(name, files)
        if len(found) > 1 and not all(SHARD.search(file.stem) for file in found):
            raise UsageError(
                f"{folder} holds several files for {name}: {', '.join(f.name for f in found)}.",
                "Leave one of them there, or name it: `data=FILE`.",
            )
        if found:
            yield name, found


def _files_of(split: str, files: Sequence[Path]) -> list[Path]:
    """train.csv, else train-v1.1.json or train_part.csv, else dialogsum.train.jsonl"""
    for name in map(re.escape, ALIASES.get(split, (split,))):
        for pattern in (name, rf"{name}[-_.].*", rf".*[-_.]{name}"):
            found = [file for file in files if re.fullmatch(pattern, file.stem.lower())]
            if found:
                return found
    return []


def _read_splits(path: Path, recipe: Recipe) -> dict[str, list[Record]]:
    """A single file: JSON of splits keeps its splits, everything else is one split."""
    if path.suffix.lower() == ".json":
        content = _load_json(path)
        if isinstance(content, dict) and "data" not in content:
            return {
                split: [_pair(f"{path.name}:{split}[{i}]", row) for i, row in enumerate(rows)]
                for split, rows in content.items()
                if isinstance(rows, list)
            }
    records = list(_read_file(path, recipe))
    return _by_column(records, recipe.split_column) if recipe.split_column else {"train": records}


def _by_column(records: list[Record], column: str) -> dict[str, list[Record]]:
    """Splits by the name that each row gives; a row without one is a fault of the first split."""
    splits: dict[str, list[Record]] = {}
    for record in records:
        name = record.fields.get(column)
        if isinstance(name, str) and name:
            splits.setdefault(name, []).append(record)
        else:
            fault = record.fault or f"{column} is {name!r}; expected the name of a split"
            splits.setdefault("train", []).append(Record(record.where, {}, fault))
    return splits


def _kept(records: list[Record], recipe: Recipe) -> list[Record]:
    """Without the rows that say of themselves that they are to be skipped."""
    skip = recipe.skip_column
    return [record for record in records if not (skip and _true(record.fields.get(skip)))]


def _true(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "yes", "1")


def _pair(where: str, row: Any) -> Record:
    """An object with fields, or a [text, label] pair."""
    if isinstance(row, dict):
        return Record(where, row)
    if isinstance(row, list) and len(row) == 2:
        return Record(where, {"text": row[0], "label": row[1]})
    return Record(where, {}, f"{str(row)[:60]!r} is neither an object nor a [text, label] pair")


def _read_file(path: Path, recipe: Recipe) -> Iterator[Record]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path} has an unknown format {path.suffix!r}; expected {', '.join(sorted(READERS))}."
        )
    return reader(path, recipe)


def _read_jsonl(path: Path, recipe: Recipe) -> Iterator[Record]:
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            yield _json_record(f"{path.name}:{number}", line)


def _json_record(where: str, line: str) -> Record:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        return Record(where, {}, f"not JSON ({error})")
    if not isinstance(fields, dict):
        return Record(where, {}, f"{type(fields).__name__}; expected an object with fields")
    return Record(where, fields)


def _lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file, with or without a byte order mark, as spreadsheets write it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 (byte {error.start} of a block).", "Save it as UTF-8."
        ) from error


def _read_csv(path: Path, recipe: Recipe) -> Iterator[Record]:
    """With a header, unless the recipe names columns by position."""
    by_position = any(isinstance(column, int) for column in recipe.columns.values())
    tabs = path.suffix.lower() == ".tsv"
    quoting = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    csv.field_size_limit(MAX_CELL)
    rows = csv.reader(_lines(path), delimiter="\t" if tabs else ",", quoting=quoting)
    try:
        header = None if by_position else [name.strip() for name in next(rows, [])]
        if header is not None:
            _check_columns(path, header, recipe)
        for row in rows:
            if row:
                yield _csv_record(f"{path.name}:{rows.line_num}", row, header)
    except csv.Error as error:
        raise UsageError(f"{path} is not CSV: line {rows.line_num}: {error}.") from error


def _csv_record(where: str, row: list[str], header: list[str] | None) -> Record:
    if header is None:
        return Record(where, {str(i): cell for i, cell in enumerate(row)})
    if len(row) != len(header):
        return Record(where, {}, f"{len(row)} cells; the header names {len(header)}")
    return Record(where, dict(zip(header, row, strict=True)))


def _check_columns(path: Path, found: Sequence[str], recipe: Recipe) -> None:
    """Raise UsageError when a column that the recipe or the kind needs is not there."""
    named = {ours: theirs for ours, theirs in recipe.columns.items() if isinstance(theirs, str)}
    missing = [repr(theirs) for theirs in named.values() if theirs not in found]
    lists = [ours for ours, theirs in recipe.columns.items() if isinstance(theirs, list)]
    known = {*found, *named, *lists}
    missing += [
        " or ".join(map(repr, names)) for names in NEEDED[recipe.kind] if not known & {*names}
    ]
    if missing:
        raise UsageError(
            f"{path.name} has no column {', '.join(missing)}; its columns are {', '.join(found)}.",
            "Name them in the recipe, e.g. `columns={text: body, label: team}`.",
        )


def _read_parquet(path: Path, recipe: Recipe) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise UsageError(f"{path} is not Parquet: {error}.") from error
    _check_columns(path, table.column_names, recipe)
    for number, fields in enumerate(table.to_pylist(), 1):
        yield Record(f"{path.name}: row {number}", fields)


def _read_squad(path: Path, recipe: Recipe) -> Iterator[Record]:
    content = _load_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise UsageError(
            f"{path} is not SQuAD JSON; expected an object with a list under 'data'.",
            'Or give splits, {"train": [[text, label], ...]}, or one object per line as .jsonl.',
        )
    for i, article in enumerate(content["data"]):
        for j, paragraph in enumerate(_objects(article, "paragraphs")):
            where = f"{path.name}: article {i}, paragraph {j}"
            if not _objects(paragraph, "qas"):
                yield Record(where, {}, "no questions; expected an object with a list under 'qas'")
            for k, qa in enumerate(_objects(paragraph, "qas")):
                yield _squad_record(f"{where}, question {k}", article, paragraph, qa)
        if not _objects(article, "paragraphs"):
            where = f"{path.name}: article {i}"
            yield Record(where, {}, "no paragraphs; expected an object with 'paragraphs'")


def _objects(parent: Any, name: str) -> list[Any]:
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, list) else []


def _squad_record(where: str, article: Any, paragraph: Any, qa: Any) -> Record:
    if not isinstance(qa, dict):
        return Record(where, {}, f"{type(qa).__name__}; expected an object with a question")
    fields = {
        "id": qa.get("id"),
        "question": qa.get("question"),
        "context": paragraph.get("context"),
        "title": article.get("title"),
        "answers": [] if qa.get("is_impossible") else qa.get("answers", []),
    }
    return Record(f"{where} ({qa['id']})" if "id" in qa else where, fields)


def _load_json(path: Path) -> Any:
    try:
        return json.loads("".join(_lines(path)))
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
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"{recipe.data} is no file or folder here and no data set on the hub ({reason}).",
            "Give local files with `data=PATH`, or run where the Hugging Face hub can be reached.",
        ) from error
    wanted = {
        alias for names in _wanted(recipe).values() for name in names for alias in _aliases(name)
    }
    kept = {split: table for split, table in found.items() if split in wanted} or found
    return {split: list(_hub_records(split, table, recipe)) for split, table in kept.items()}


def _hub_records(split: str, table: Any, recipe: Recipe) -> Iterator[Record]:
    """Records of one hub split, with class numbers of its labels turned into their names.

    Of labels alone: SciTLDR keeps its sentence marks as classes, too, and those stay 0 and 1.
    """
    ours = {str(recipe.columns.get(name, name)) for name in ("label", "labels")}
    names = {
        column: feature if hasattr(feature, "int2str") else getattr(feature, "feature", None)
        for column, feature in table.features.items()
        if column in ours | {"label", "labels"}
    }
    for number, row in enumerate(table):
        for column, feature in names.items():
            if hasattr(feature, "int2str") and row[column] not in (None, HIDDEN_LABEL):
                row[column] = feature.int2str(row[column])
        yield Record(f"{split}[{number}]", row)


def _renamed(records: list[Record], recipe: Recipe) -> list[Record]:
    """Columns under our names, label numbers under their names."""
    names = _label_names(recipe)
    return [record if record.fault else _rename(record, recipe, names) for record in records]


def _rename(record: Record, recipe: Recipe, names: list[str]) -> Record:
    renamed = dict(record.fields)
    for ours, theirs in recipe.columns.items():
        if isinstance(theirs, list):
            renamed[ours] = [record.fields[name] for name in theirs if record.fields.get(name)]
        elif str(theirs) in record.fields:
            renamed[ours] = record.fields[str(theirs)]
    if names:
        for key in ("label", "labels"):
            if key in renamed:
                try:
                    renamed[key] = _named(renamed[key], names, recipe)
                except IndexError:
                    fault = f"{key} is {renamed[key]!r}; expected numbers of 0 to {len(names) - 1}"
                    return Record(record.where, {}, fault)
    return Record(record.where, renamed)


def _named(value: Any, names: list[str], recipe: Recipe) -> Any:
    if not recipe.multi_label:
        return _name(value, names)
    parts = value if isinstance(value, list) else str(value).split(recipe.label_separator)
    return [_name(part, names) for part in parts]


def _name(value: Any, names: list[str]) -> Any:
    """The name of a label number; raises IndexError. What is no number stays as it is."""
    text = str(value).strip()
    return names[int(text)] if text.isdigit() else value


def _label_names(recipe: Recipe) -> list[str]:
    """Names by number: from the recipe, or one per line of a file beside the data."""
    if isinstance(recipe.label_names, list):
        return recipe.label_names
    source = Path(recipe.data).expanduser()
    if not recipe.label_names or not source.exists():
        return []  # a hub data set brings its names along
    file = (source if source.is_dir() else source.parent) / recipe.label_names
    if not file.is_file():
        raise UsageError(
            f"{file} is not there; the recipe reads the names of the labels from it.",
            "Put it beside the data, or set `label_names=` where the labels are names already.",
        )
    return [line.strip() for line in _lines(file) if line.strip()]
