"""Everything that can be measured of one model on labelled rows: what `transfer evaluate` does.

    transfer evaluate checkpoints/intent data=clinc150/data_oos_plus.json
    transfer evaluate intent/full-int8 data=mine.csv rows=all slice=dialect against=intent/full

A finished checkpoint runs in PyTorch, a published variant in ONNX Runtime; both are encoded and
decoded by the code that serves. Writes NAME.json, NAME.md and, for classifiers with one label a
text, NAME-confusion.svg.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import find_variant
from export.measure import in_threads
from services.errors import TransferError, UsageError
from services.runtime import Runtime
from services.windows import TextTokenizer
from training.checkpoint import (
    DESCRIPTION_NAME,
    METRICS_NAME,
    read_description,
    task_of,
    write_json,
)
from training.evaluate import run
from training.held_out import Exam
from training.metrics.confusion import picture
from training.metrics.report import Measured, Ran, against, measure
from training.metrics.table import table
from training.metrics.writing import write_summaries
from training.models import TorchRunner, load_model


@dataclass(frozen=True)
class Subject:
    """One model to be judged.

    name: as in a report, "intent/full-int8" or "checkpoint intent"; runs: in what
    labels, multi_label: of a classifier
    answer: runs rows through it
    """

    name: str
    kind: str
    model: str
    runs: str
    labels: Sequence[str]
    multi_label: bool
    answer: Callable[[Sequence[Any]], Ran]


def find_subject(named: str, lock: Path) -> Subject:
    """The checkpoint in a folder, or the published MODEL/VARIANT; raises UsageError for neither."""
    folder = Path(named)
    if (folder / DESCRIPTION_NAME).is_file():
        return _checkpoint(folder)
    model, slash, variant = named.partition("/")
    if not slash or "/" in variant:
        raise UsageError(
            f"{named} is neither a folder with {DESCRIPTION_NAME} nor MODEL/VARIANT.",
            "E.g. `checkpoints/intent` after `transfer train intent`, or `intent/full-int8` after "
            "`transfer build`.",
        )
    return _variant(find_variant(lock, model, variant))


def _variant(runtime: Runtime) -> Subject:
    manifest = runtime.manifest

    def answer(rows: Sequence[Any]) -> Ran:
        encoded, outputs = run(runtime.task, rows, in_threads(runtime))
        return Ran(runtime.task, rows, encoded, outputs)

    return Subject(
        f"{manifest.model}/{manifest.variant}",
        manifest.kind,
        manifest.model,
        "ONNX Runtime",
        manifest.labels,
        bool(manifest.decoding.get("multi_label")),
        answer,
    )


def _checkpoint(folder: Path) -> Subject:
    description = read_description(folder)
    if not (folder / METRICS_NAME).is_file():
        raise TransferError(
            f"{folder} is not finished: {METRICS_NAME} is missing.",
            "Run its training again: it goes on from the last step.",
            code="bad_checkpoint",
        )
    writes = description.kind == "seq2seq"

    def answer(rows: Sequence[Any]) -> Ran:
        return _written(folder, rows) if writes else _read(folder, rows)

    return Subject(
        f"{description.model}/{description.role} (checkpoint)",
        description.kind,
        description.model,
        "PyTorch",
        description.labels,
        bool(description.decoding.get("multi_label")),
        answer,
    )


def _read(folder: Path, rows: Sequence[Any]) -> Ran:
    description = read_description(folder)
    task = task_of(description, TextTokenizer.load(folder / "tokenizer.json"))
    model = load_model(description.kind, folder)
    infer = TorchRunner(model, description.kind, task.tokenizer.pad_id)
    return Ran(task, rows, *run(task, rows, infer))


def _written(folder: Path, rows: Sequence[Any]) -> Ran:
    description = read_description(folder)
    task = task_of(description, TextTokenizer.load(folder / "tokenizer.json"))
    return Ran(task, rows, [], [], *write_summaries(folder, rows))


def refuse_other_rows(subject: Subject, exam: Exam) -> None:
    """Raise UsageError when the rows have labels that the classifier cannot give."""
    if subject.kind != "sequence-classification":
        return
    found = {label for row in exam.rows for label in row.labels}
    unknown = sorted(found - {*subject.labels, exam.out_of_scope})
    if unknown:
        raise UsageError(
            f"The rows have labels that {subject.name} does not know: {', '.join(unknown[:10])}.",
            "Give rows with its own labels, or name the label of what is outside of them: "
            "`out_of_scope=LABEL`.",
        )


def evaluate_subject(
    subject: Subject,
    exam: Exam,
    groups: Mapping[str, Sequence[str]],
    other: Subject | None = None,
) -> Measured:
    """Run and measure; groups: column of the data -> the group of each row.

    other: is compared on the same rows by a paired bootstrap
    """
    ran = subject.answer(exam.rows)
    measured = measure(ran, exam.out_of_scope, exam.summary_sentences, groups)
    record = {
        "subject": subject.name,
        "runs": subject.runs,
        "kind": subject.kind,
        "data": exam.data,
        "rows": len(exam.rows),
        **measured.record,
    }
    if other is not None:
        theirs = measure(other.answer(exam.rows), exam.out_of_scope, exam.summary_sentences)
        record["against"] = {"subject": other.name, **against(measured, theirs)}
    return Measured(record, measured.evaluation, measured.confusion)


def write_report(name: str, measured: Measured, folder: Path) -> Path:
    """NAME.md and NAME-confusion.svg first, NAME.json last; returns the path of the last."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    shown = table(measured.record)
    if measured.confusion is not None:
        drawn = folder / f"{name}-confusion.svg"
        drawn.write_text(picture(measured.confusion, measured.record["subject"]), encoding="utf-8")
        shown += f"\n\n![Confusion matrix]({drawn.name})"
    path.with_suffix(".md").write_text(shown + "\n", encoding="utf-8")
    write_json(path, measured.record)
    return path


def report_name(subject: Subject) -> str:
    """A file name: `intent-full-int8`, `intent-full-checkpoint`."""
    return subject.name.replace(" (checkpoint)", "-checkpoint").replace("/", "-")
