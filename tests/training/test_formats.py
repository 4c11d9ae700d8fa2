"""Every format gives the same records, and says clearly what it cannot read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.errors import UsageError
from tests.training.tiny_data import write_jsonl
from training.formats import read_source
from training.recipe import Recipe

ROWS = [{"text": "Where is it, please?", "label": "shipping"}, {"text": "Zwei", "label": "other"}]


def recipe(data: Path | str, kind: str = "sequence-classification", **changes: Any) -> Recipe:
    return Recipe(**{"name": "x", "kind": kind, "data": str(data), **changes})


def fields_of(records: list[Any]) -> list[dict[str, Any]]:
    assert [record.fault for record in records] == [""] * len(records)
    return [record.fields for record in records]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_jsonl_skips_blank_lines_and_counts_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "\n".join([json.dumps(ROWS[0]), "", json.dumps(ROWS[1])]))
    records = read_source(recipe(path))["train"]
    assert fields_of(records) == ROWS
    assert [record.where for record in records] == ["a.jsonl:1", "a.jsonl:3"]


def test_csv_has_quoted_commas_and_line_breaks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"one, two\nthree",x\nfour,y\n')
    records = read_source(recipe(path))["train"]
    assert fields_of(records) == [
        {"text": "one, two\nthree", "label": "x"},
        {"text": "four", "label": "y"},
    ]
    assert records[1].where == "a.csv:4"


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("\ufefftext, label\r\nHallo,x\r\n".encode())
    assert fields_of(read_source(recipe(path))["train"]) == [{"text": "Hallo", "label": "x"}]


def test_csv_cells_may_be_longer_than_pythons_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"text,label\n{'word ' * 40_000},x\n")
    assert len(fields_of(read_source(recipe(path))["train"])[0]["text"]) == 200_000


@pytest.mark.parametrize("header", ["text,team", "body,label", "a,b"])
def test_csv_without_a_needed_column_names_those_it_has(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "a.csv", f"{header}\nHallo,x\n")
    missing = [name for name in ("text", "label") if name not in header.split(",")]
    with pytest.raises(UsageError, match=r"a\.csv has no column") as caught:
        read_source(recipe(path))
    assert all(f"'{name}'" in caught.value.message for name in missing)
    assert f"its columns are {header.replace(',', ', ')}" in caught.value.message


def test_csv_without_a_column_of_the_recipe(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\nHallo,x\n")
    with pytest.raises(UsageError, match="no column 'team'; its columns are text, label"):
        read_source(recipe(path, columns={"label": "team"}))


def test_a_csv_row_of_another_length_is_a_fault_not_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\none, two,x\nthree,y\n")
    bad, good = read_source(recipe(path))["train"]
    assert bad.fault == "3 cells; the header names 2" and bad.where == "a.csv:2"
    assert good.fields == {"text": "three", "label": "y"}


def test_tsv_by_position_takes_quotes_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'say "hi\t3\tid1\nbye"\t4\tid2\n')
    records = read_source(recipe(path, columns={"text": 0, "label": 1}))["train"]
    texts = [(record.fields["text"], record.fields["label"]) for record in records]
    assert texts == [('say "hi', "3"), ('bye"', "4")]


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    records = read_source(recipe(tmp_path / "a.parquet"))["train"]
    assert fields_of(records) == ROWS
    assert records[1].where == "a.parquet: row 2"


def test_parquet_without_the_label_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "team": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="no column 'label' or 'labels'"):
        read_source(recipe(tmp_path / "a.parquet"))


def test_squad_json_gives_questions_with_context_and_article(tmp_path: Path) -> None:
    answer = {"text": "red", "answer_start": 8}
    qas = [
        {"id": "1", "question": "Colour?", "answers": [answer]},
        {"id": "2", "question": "Size?", "is_impossible": True, "answers": [answer]},
    ]
    paragraphs = [{"context": "The red car.", "qas": qas}]
    content = {"data": [{"title": "Cars", "paragraphs": paragraphs}]}
    path = write(tmp_path / "a.json", json.dumps(content))
    first, second = fields_of(read_source(recipe(path, "question-answering"))["train"])
    assert (first["context"], first["title"]) == ("The red car.", "Cars")
    assert first["answers"] == [answer]
    assert second["answers"] == []


def test_broken_parts_of_squad_json_are_faults_with_their_place(tmp_path: Path) -> None:
    data = [7, {"paragraphs": [{"context": "a"}, {"context": "b", "qas": ["no"]}]}]
    path = write(tmp_path / "a.json", json.dumps({"data": data}))
    records = read_source(recipe(path, "question-answering"))["train"]
    assert [(record.where, bool(record.fault)) for record in records] == [
        ("a.json: article 0", True),
        ("a.json: article 1, paragraph 0", True),
        ("a.json: article 1, paragraph 1, question 0", True),
    ]


def test_json_of_splits_keeps_its_splits_and_may_join_several(tmp_path: Path) -> None:
    content = {
        "train": [["a", "x"]],
        "oos_train": [["b", "oos"]],
        "val": [{"text": "c", "label": "x"}],
        "version": "1",
    }
    path = write(tmp_path / "a.json", json.dumps(content))
    found = read_source(recipe(path, splits={"train": ["train", "oos_train"], "dev": "val"}))
    assert [record.fields["text"] for record in found["train"]] == ["a", "b"]
    assert fields_of(found["dev"]) == [{"text": "c", "label": "x"}]


def test_a_row_of_splits_that_is_no_pair_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json.dumps({"train": [["a", "x", "y"], "b"]}))
    records = read_source(recipe(path))["train"]
    assert [record.where for record in records if record.fault] == [
        "a.json:train[0]",
        "a.json:train[1]",
    ]


@pytest.mark.parametrize("dev", ["dev", "validation", "val", "valid"])
def test_a_folder_holds_one_file_for_each_split(tmp_path: Path, dev: str) -> None:
    for name in ("train", dev, "test"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": name, "label": "x"}])
    write(tmp_path / "README.txt", "not data")
    found = read_source(recipe(tmp_path))
    texts = {split: records[0].fields["text"] for split, records in found.items()}
    assert texts == {"train": "train", "dev": dev, "test": "test"}


def test_files_of_a_folder_may_carry_more_than_the_split_in_their_names(tmp_path: Path) -> None:
    for name in ("corpus.train", "dev-v1.1", "test_clean"):
        write_jsonl(tmp_path / f"{name}.jsonl", ROWS)
    assert sorted(read_source(recipe(tmp_path))) == ["dev", "test", "train"]


def test_all_shards_of_a_split_are_read(tmp_path: Path) -> None:
    for i, row in enumerate(ROWS):
        table = pa.Table.from_pylist([row])
        pq.write_table(table, tmp_path / f"train-0000{i}-of-00002.parquet")
    assert fields_of(read_source(recipe(tmp_path))["train"]) == ROWS


def test_two_files_for_one_split_are_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train_a.jsonl", ROWS)
    write_jsonl(tmp_path / "train_b.jsonl", ROWS)
    with pytest.raises(UsageError, match=r"several files for train: train_a.jsonl, train_b.jsonl"):
        read_source(recipe(tmp_path))


def test_a_folder_without_data_says_what_it_could_hold(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no data file; expected .*\.jsonl"):
        read_source(recipe(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", "is not JSON"),
        ("a.json", b'{"data": 3}', "is not SQuAD JSON"),
        ("a.json", b"[1]", "is not SQuAD JSON"),
        ("a.parquet", b"no", "is not Parquet"),
        ("a.jsonl", b'{"text": "\xe9"}', "is not UTF-8"),
        ("a.csv", b"text,label\n\xe9,x\n", "is not UTF-8"),
        ("a.xls", b"", "unknown format '.xls'; expected .csv"),
    ],
)
def test_a_file_that_cannot_be_read(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_source(recipe(tmp_path / name))


def test_wanted_splits_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json.dumps({"learn": [["a", "x"]]}))
    with pytest.raises(UsageError, match="none of the wanted splits; found learn"):
        read_source(recipe(path))


def test_a_list_of_columns_collects_those_that_are_there(tmp_path: Path) -> None:
    rows = [{"text": "a", "summary": "s"}, {"text": "b", "summary1": "t", "summary2": "u"}]
    columns = {"references": ["summary", "summary1", "summary2"]}
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    records = read_source(recipe(path, "seq2seq", columns=columns))["train"]
    assert [record.fields["references"] for record in records] == [["s"], ["t", "u"]]


# Names of labels


def named(path: Path, **changes: Any) -> list[Any]:
    changes.setdefault("label_names", ["zero", "one", "two words"])
    return [r.fields.get("label", r.fault) for r in read_source(recipe(path, **changes))["train"]]


def test_label_numbers_become_names(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "label": i} for i in (0, "2", "one")])
    assert named(path) == ["zero", "two words", "one"]


def test_several_label_numbers_in_a_cell_become_names(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "label": v} for v in ("0, 2", [1], "")])
    found = named(path, multi_label=True, label_separator=",")
    assert found == [["zero", "two words"], ["one"], [""]]


def test_a_name_with_the_separator_is_one_name(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "label": "this|that"}])
    assert named(path) == ["this|that"]


def test_a_number_without_a_name_is_a_fault(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "label": 3}])
    assert named(path) == ["label is 3; expected numbers of 0 to 2"]


def test_names_come_one_per_line_from_a_file_beside_the_data(tmp_path: Path) -> None:
    write(tmp_path / "names.txt", "not urgent\nurgent\n")
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "label": 0}])
    assert named(path, label_names="names.txt") == ["not urgent"]


def test_a_missing_file_of_names_is_an_error(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "label": 0}])
    with pytest.raises(UsageError, match=r"names\.txt is not there"):
        named(path, label_names="names.txt")


# Hugging Face


def hub(monkeypatch: pytest.MonkeyPatch, **splits: datasets.Dataset) -> list[tuple[Any, ...]]:
    asked: list[tuple[Any, ...]] = []

    def load(*arguments: Any) -> datasets.DatasetDict:
        asked.append(arguments)
        return datasets.DatasetDict(splits)

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def dataset(features: dict[str, Any], **columns: list[Any]) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def test_a_hub_data_set_has_its_class_numbers_named(monkeypatch: pytest.MonkeyPatch) -> None:
    names = datasets.ClassLabel(names=["freeze", "oos"])
    features = {"text": datasets.Value("string"), "intent": names}
    rows = dataset(features, text=["a", "b"], intent=[1, 0])
    asked = hub(monkeypatch, train=rows, validation=rows)
    found = read_source(recipe("clinc/clinc_oos", data_config="plus", columns={"label": "intent"}))
    assert asked == [("clinc/clinc_oos", "plus")]
    assert sorted(found) == ["dev", "train"]
    assert [record.fields["label"] for record in found["dev"]] == ["oos", "freeze"]
    assert found["train"][1].where == "train[1]"


def test_lists_of_class_numbers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    names = datasets.List(datasets.ClassLabel(names=["joy", "anger"]))
    features = {"text": datasets.Value("string"), "labels": names}
    hub(monkeypatch, train=dataset(features, text=["a", "b"], labels=[[0, 1], []]))
    # positions are for local files; the hub's own names hold
    found = read_source(recipe("x/y", columns={"text": 0, "labels": 1}, multi_label=True))
    assert [record.fields["labels"] for record in found["train"]] == [["joy", "anger"], []]


def test_marks_of_sentences_stay_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    features = {
        "source": datasets.List(datasets.Value("string")),
        "source_labels": datasets.List(datasets.ClassLabel(names=["non-oracle", "oracle"])),
    }
    hub(monkeypatch, train=dataset(features, source=[["a", "b"]], source_labels=[[0, 1]]))
    columns = {"sentences": "source", "marks": "source_labels"}
    found = read_source(recipe("allenai/scitldr", "sentence-extraction", columns=columns))
    assert found["train"][0].fields["marks"] == [0, 1]


@pytest.mark.parametrize("reason", ["offline\nsecond line", ""])
def test_data_that_is_nowhere(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    def fail(*arguments: Any) -> None:
        raise ConnectionError(reason)

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(UsageError, match="no file or folder here and no data set on the hub") as e:
        read_source(recipe("some/data"))
    assert (reason.splitlines() or ["ConnectionError"])[0] in e.value.message
    assert "second line" not in e.value.message
    assert "data=PATH" in e.value.hint


def test_rows_may_name_their_split_and_ask_to_be_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        '{"text": "a", "label": "x", "part": "learn", "copy": false}',
        '{"text": "b", "label": "x", "part": "test", "copy": true}',
        '{"text": "c", "label": "x", "part": "test"}',
        '{"text": "d", "label": "x"}',
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    splits = {"train": ["learn", "train"], "test": "test"}
    found = read_source(recipe(path, splits=splits, split_column="part", skip_column="copy"))
    texts = {split: [record.fields.get("text") for record in r] for split, r in found.items()}
    assert texts == {"train": ["a", None], "test": ["c"]}
    assert found["train"][1].fault == "part is None; expected the name of a split"


@pytest.mark.parametrize("said", ["true", "True", "1", "yes"])
def test_csv_says_skip_in_words(tmp_path: Path, said: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"text,label,copy\na,x,{said}\nb,x,false\nc,x,\n", encoding="utf-8")
    found = read_source(recipe(path, skip_column="copy"))
    assert [record.fields["text"] for record in found["train"]] == ["b", "c"]
