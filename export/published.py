"""`intent` in the form of a published table: 151 classes, size, and latency of one text at a time.

    transfer results published data=clinc150/data_oos_plus.json

The form is that of L. Tunstall, L. von Werra & T. Wolf, Natural Language Processing with
Transformers, chapter 8: accuracy over all 5,500 test rows of CLINC150, where abstaining counts as
the class "out of scope". Their times are of another machine, so ours are ratios: in the same run,
text by text, a BERT-base-shaped model with random weights is timed in `transformers.pipeline`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.measure import in_threads
from export.plots.scatter import Point, scatter
from services.errors import UsageError
from services.lock import read_lock
from services.registry import variant_path
from services.runtime import Runtime, result_of
from services.tasks.classify import Classify
from training.bases import EMBEDDED, resolve
from training.evaluate import Evaluation, run
from training.studies.spread import why_fewer

MODEL = "intent"
VARIANTS = ("full", "full-int8", "distilled", "distilled-int8")
TIMED_TEXTS = 200
# Their table: accuracy, megabytes, milliseconds for one text on their CPU.
PUBLISHED: dict[str, tuple[float, float, float]] = {
    "BERT-base (PyTorch)": (0.867, 418.0, 54.2),
    "DistilBERT, distilled (PyTorch)": (0.868, 256.0, 26.0),
    "DistilBERT, distilled (ONNX Runtime, int8)": (0.877, 64.2, 9.24),
}
REFERENCE = "BERT-base (PyTorch)"

Call = Callable[[str], Any]
Row = dict[str, Any]


def measure_published(
    lock: Path, rows: Sequence[Any], out_of_scope: str, timed_texts: int = TIMED_TEXTS
) -> dict[str, Any]:
    """The record of all published variants of `intent` that there are.

    lock: names them; rows: test rows, those out of scope included
    """
    runtimes = _load(lock)
    entries = [
        {
            "name": variant,
            **with_out_of_scope(runtime, rows, out_of_scope).record(),
            "size_mb": round(runtime.manifest.size_bytes / 1e6, 2),
            "parameters": runtime.manifest.parameters,
        }
        for variant, runtime in runtimes.items()
    ]
    texts = [row.text for row in rows][:: max(1, len(rows) // timed_texts)][:timed_texts]
    labels = len(next(iter(runtimes.values())).manifest.labels) + 1
    times = timed({**calls_of(runtimes), REFERENCE: bert_base(labels)}, texts)
    reference = times[REFERENCE]["p50_ms"]
    for entry in entries:
        entry |= times[entry["name"]]
        entry["ratio_to_bert_base"] = entry["p50_ms"] / reference
    return {
        "variants": entries,
        "bert_base_random_weights": {**times[REFERENCE], "threads": _torch_threads()},
        "published": [
            {"name": n, "value": a, "size_mb": mb, "ms": ms, "ratio_to_bert_base": ms / 54.2}
            for n, (a, mb, ms) in PUBLISHED.items()
        ],
        "texts_timed": len(texts),
    }


def _load(lock: Path) -> dict[str, Runtime]:
    tags = read_lock(lock)
    found = {v: tags[f"{MODEL}/{v}"] for v in VARIANTS if f"{MODEL}/{v}" in tags}
    if not found:
        raise UsageError(f"No variant of {MODEL} is published.", "Run `transfer build intent`.")
    return {variant: Runtime.load(variant_path(tag)) for variant, tag in found.items()}


def with_out_of_scope(runtime: Runtime, rows: Sequence[Any], out_of_scope: str) -> Evaluation:
    """Accuracy over all rows, abstaining being an answer of its own."""
    encoded, outputs = run(runtime.task, rows, in_threads(runtime))
    task = runtime.task
    assert isinstance(task, Classify)
    results = [task.decode(item, out) for item, out in zip(encoded, outputs, strict=True)]
    answers = [out_of_scope if found["abstained"] else found["label"] for found in results]
    right = np.array([a == row.labels[0] for a, row in zip(answers, rows, strict=True)])
    return Evaluation("accuracy", len(rows), lambda i: float(right[i].mean()), answers)


def calls_of(runtimes: Mapping[str, Runtime]) -> dict[str, Call]:
    """Text in, decoded answer out, as the service does it."""

    def call(runtime: Runtime) -> Call:
        return lambda text: result_of(runtime, runtime.task.encode(text))  # type: ignore[call-arg]

    return {name: call(runtime) for name, runtime in runtimes.items()}


def bert_base(labels: int) -> Call:
    """`transformers.pipeline` over a model of BERT-base's shape that never learned anything."""
    import transformers

    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolve(EMBEDDED).path, use_fast=True)
    config = transformers.BertConfig(vocab_size=len(tokenizer), num_labels=labels)
    model = transformers.BertForSequenceClassification(config).eval()
    call: Call = transformers.pipeline(
        "text-classification", model=model, tokenizer=tokenizer, device="cpu"
    )
    return call


def timed(calls: Mapping[str, Call], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Percentiles for each call, one text at a time; all of them take turns at every text."""
    for call in calls.values():
        for text in texts[:10]:
            call(text)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for text in texts:
        for name, call in calls.items():
            started = time.perf_counter()
            call(text)
            taken[name].append((time.perf_counter() - started) * 1000)
    return {
        name: {f"p{p}_ms": float(np.percentile(values, p)) for p in (50, 95)}
        for name, values in taken.items()
    }


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def table(record: Mapping[str, Any]) -> str:
    """Ours above theirs, as Markdown."""
    lines = [
        "| | accuracy, 151 classes | 95 % interval | MB | ms here | times BERT-base |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for row in record["variants"]:
        lines.append(
            f"| `intent/{row['name']}` | {row['value']:.3f} | {row['ci_low']:.3f} to "
            f"{row['ci_high']:.3f} | {row['size_mb']:.1f} | {row['p50_ms']:.2f} | "
            f"{row['ratio_to_bert_base']:.3f} |"
        )
    bert = record["bert_base_random_weights"]
    lines.append(f"| BERT-base's shape, random weights | - | - | - | {bert['p50_ms']:.1f} | 1 |")
    for row in record["published"]:
        lines.append(
            f"| published: {row['name']} | {row['value']:.3f} | not stated | {row['size_mb']:g} | "
            f"({row['ms']:g} there) | {row['ratio_to_bert_base']:.3f} |"
        )
    n = record["variants"][0]["n"]
    at = record.get("environment", {})
    lines += [
        "",
        f"{n:,} test rows of CLINC150 (`data_oos_plus.json`). Published: L. Tunstall et al., "
        "Natural Language Processing with Transformers, chapter 8. ms: median of "
        f"{record['texts_timed']} test texts, one at a time, all models taking turns at each text; "
        f"PyTorch with {bert['threads']} threads, ours with one. MB: graph and tokenizer. "
        f"{at.get('cpu', 'CPU unknown')}, {at.get('cores', '?')} cores, commit "
        f"{at.get('commit', 'unknown')}.{why_fewer(record)}",
    ]
    return "\n".join(lines)


def plot(record: Mapping[str, Any]) -> str:
    """Accuracy over times as fast as BERT-base, as SVG; of theirs no interval is known."""
    ours = [
        Point(
            1 / row["ratio_to_bert_base"],
            *(row[key] for key in ("value", "ci_low", "ci_high", "name")),
            "ours",
        )
        for row in record["variants"]
    ]
    theirs = [
        Point(1 / row["ratio_to_bert_base"], *[row["value"]] * 3, row["name"], "published")
        for row in record["published"]
    ]
    label = "times as fast as BERT-base, logarithmic"
    return scatter([*ours, *theirs], "intent beside published models", label, "accuracy")
