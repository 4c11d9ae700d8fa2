"""The trade-off report: quality, latency, throughput, memory and size of every variant, measured.

In: `variants.lock.json` and the variants that it names. Out: `reports/tradeoff.json` (what was not
measured is left out) and `reports/tradeoff.md`. Run by `transfer bench [--quick]`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from load_tests.baseline import baseline
from load_tests.bodies import Body, items, zero_shot_labels
from load_tests.environment import busy_before, environment
from load_tests.inprocess import THREADS, answer, throughput
from load_tests.measure import QUICK, THOROUGH, Plan, measure
from load_tests.memory import MB
from load_tests.progress import Progress
from load_tests.samples import sample_items
from load_tests.server import serving
from load_tests.table import table
from services.compare import agreement
from services.errors import UsageError
from services.manifest import Manifest, read_manifest, sha256_of
from services.registry import VARIANTS, read_lock, variant_path
from services.runtime import Runtime
from services.settings import Settings, prepare_bentoml

Row = dict[str, Any]

BASELINE = "pytorch-fp32"
COMPARED = "distilled-int8"


@dataclass(frozen=True)
class Published:
    """One variant of the lock file: `model/variant`, its folder and manifest."""

    key: str
    folder: Path
    manifest: Manifest


@dataclass(frozen=True)
class Job:
    """One model: its variants, biggest first, and the work.

    bodies: sent under load; samples: answered by every variant, to be compared with `full`
    """

    model: str
    variants: list[Published]
    bodies: list[Body]
    samples: list[Body]
    checkpoint: Path | None


def bench(
    quick: bool = True,
    out: Path = Path("reports"),
    models: Sequence[str] | None = None,
    checkpoints: Mapping[str, Path] | None = None,
    plan: Plan | None = None,
) -> Path:
    """Measure every published variant (of `models`) and write the report; returns its path.

    checkpoints: model to a folder with its full torch weights, measured as `pytorch-fp32`.
    plan: how long to look, in place of what `quick` stands for.
    Raises UsageError for an unknown model, ServerError or LoadError when a measurement fails;
    then nothing is written.
    """
    plan = plan or (QUICK if quick else THOROUGH)
    prepare_bentoml()
    before = busy_before()
    jobs = jobs_of(read_lock(Settings.from_environment().lock), models, checkpoints or {})
    progress = Progress(sum(len(job.variants) + 1 + bool(job.checkpoint) for job in jobs))
    rows: list[Row] = []
    in_process: list[Row] = []
    for job in jobs:
        rows += variant_rows(job, plan, progress)
        if job.checkpoint:
            row, compared = baseline_row(job, job.checkpoint, plan, progress)
            rows.append(row)
            in_process += [compared] if compared else []
    command = "transfer bench" + " --quick" * quick
    command += f" --models {','.join(models)}" if models else ""
    about = {**_environment(jobs, plan, command), "validity": before}
    record = {"environment": about, "variants": rows}
    if in_process:
        record["in_process"] = in_process
    path = write(record, out)
    progress.close(f"done: {path}")
    return path


def jobs_of(
    lock: Mapping[str, str], models: Sequence[str] | None, checkpoints: Mapping[str, Path]
) -> list[Job]:
    """The models to measure, with their variants biggest first."""
    known = list(dict.fromkeys(key.split("/")[0] for key in lock))
    unknown = sorted(set(models or ()) - set(known))
    if unknown:
        raise UsageError(
            f"No variant of {', '.join(unknown)} is published; there are {', '.join(known)}.",
            "Name one of these, or run `transfer build`.",
        )
    return [_job(model, lock, checkpoints.get(model)) for model in models or known]


def _job(model: str, lock: Mapping[str, str], checkpoint: Path | None) -> Job:
    keys = [key for key in lock if key.split("/")[0] == model]
    keys.sort(key=lambda key: VARIANTS.index(key.split("/")[1]))
    folders = [variant_path(lock[key]) for key in keys]
    variants = [
        Published(key, folder, read_manifest(folder))
        for key, folder in zip(keys, folders, strict=True)
    ]
    manifest = variants[0].manifest
    labels = zero_shot_labels() if manifest.kind == "zero-shot" else None
    bodies = items(manifest.task, model, labels=labels)
    samples = sample_items(manifest.task, model, labels=labels) or bodies
    return Job(model, variants, bodies, samples, checkpoint)


def variant_rows(job: Job, plan: Plan, progress: Progress) -> list[Row]:
    """One row for each variant: what its manifest says, and what it does under load."""
    progress.step(f"{job.model}: agreement of its variants")
    agreements = agreements_of(job)
    rows = []
    for variant in job.variants:
        progress.step(f"{variant.key}: load")
        bodies = [{**body, "variant": variant.manifest.variant} for body in job.bodies]
        with serving([variant.key]) as server:
            measured = measure(server, variant.manifest.task, bodies, plan)
        rows.append({**described(variant), **agreements.get(variant.key, {}), **measured})
    return rows


def agreements_of(job: Job) -> dict[str, Row]:
    """agreement_with_full of every variant, where the model's `full` is published."""
    if job.variants[0].manifest.variant != "full":
        return {}
    answers = {}
    for variant in job.variants:
        runtime = Runtime.load(variant.folder)
        answers[variant.key] = [answer(runtime, body) for body in job.samples]
    task, first = job.variants[0].manifest.task, answers[job.variants[0].key]
    return {
        key: {"agreement_with_full": agreement(task, first, found), "agreement_n": len(found)}
        for key, found in answers.items()
    }


def described(variant: Published) -> Row:
    """What is known of a variant without running it."""
    manifest = variant.manifest
    row: Row = {
        "task": manifest.task,
        "model": manifest.model,
        "variant": manifest.variant,
        "parameters": manifest.parameters,
        "disk_mb": manifest.size_bytes / MB,
        "transport": "http",
    }
    for name in ("quality", "parity"):
        found = msgspec.to_builtins(getattr(manifest, name))
        if found:
            row[name] = {key: value for key, value in found.items() if value is not None}
    return row


def baseline_row(
    job: Job, checkpoint: Path, plan: Plan, progress: Progress
) -> tuple[Row, Row | None]:
    """PyTorch fp32, then `distilled-int8` in process on the same texts, and their ratio."""
    progress.step(f"{job.model}/{BASELINE}: in process")
    manifest = job.variants[0].manifest
    seconds = plan.single_s
    decoding = {**manifest.decoding, "max_tokens": manifest.max_tokens}
    measured = baseline(
        manifest.kind, checkpoint, job.bodies, seconds=seconds, seed=plan.seed, **decoding
    )
    row = {
        "task": manifest.task,
        "model": job.model,
        "variant": BASELINE,
        "parameters": manifest.parameters,
        "disk_mb": _weights_bytes(checkpoint) / MB,
        "transport": "in process",
        "threads": THREADS,
        **measured,
    }
    compared = next((v for v in job.variants if v.manifest.variant == COMPARED), None)
    if compared is None:
        return row, None
    rate = throughput(Runtime.load(compared.folder), job.bodies, seconds)
    ratio = rate / row["throughput_rps"]
    return row, {
        "model": job.model,
        "variant": COMPARED,
        "throughput_rps": rate,
        "baseline_rps": row["throughput_rps"],
        "ratio": ratio,
        "threads": THREADS,
        "n_texts": len(job.bodies),
    }


def _weights_bytes(checkpoint: Path) -> int:
    names = ("*.safetensors", "pytorch_model*.bin", "tokenizer.json")
    return sum(path.stat().st_size for name in names for path in checkpoint.glob(name))


def _environment(jobs: Sequence[Job], plan: Plan, command: str) -> dict[str, Any]:
    return {
        **environment(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "plan": asdict(plan),
        "seed": plan.seed,
        "artifacts": {
            variant.key: sha256_of(variant.folder / "manifest.json")
            for job in jobs
            for variant in job.variants
        },
        "texts": {job.model: _length_mix(job.bodies) for job in jobs},
    }


def _length_mix(bodies: Sequence[Body]) -> dict[str, int]:
    """How many texts were sent, and how long they are in words."""
    words = sorted(
        len(f"{body.get('question', '')} {body.get('context', body.get('text'))}".split())
        for body in bodies
    )
    return {"n": len(words), "min_words": words[0], "max_words": words[-1]}


def write(record: dict[str, Any], out: Path) -> Path:
    """`out/tradeoff.md`, then `out/tradeoff.json`; returns the latter."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "tradeoff.md").write_text(table(record), encoding="utf-8")
    path = out / "tradeoff.json"
    path.write_text(json.dumps(_rounded(record), indent=2) + "\n", encoding="utf-8")
    return path


def _rounded(value: Any) -> Any:
    """Floats to six significant digits: more is noise, and makes diffs long."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
