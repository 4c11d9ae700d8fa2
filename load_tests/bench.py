"""The trade-off report: quality, latency, rate, memory, size, cost of every variant, measured.

In: `variants.lock.json` and the variants that it names; what is known of their quality. Out:
`reports/tradeoff.html`, `.json`, `.csv` and `latencies.jsonl.gz` (what was not measured is left
out). Run by `transfer bench [--quick]` and `transfer compare MODEL --data FILE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from load_tests.baseline import baseline
from load_tests.bodies import Body, zero_shot_labels
from load_tests.cost import PRICE_PER_HOUR, cost_per_million
from load_tests.differences import differences
from load_tests.environment import busy_before, environment
from load_tests.folders import folders_of
from load_tests.measure import measure
from load_tests.memory import MB
from load_tests.mixes import MIXED, bodies_of, words_of
from load_tests.offline import THREADS, offline
from load_tests.plan import THOROUGH, Plan, quick
from load_tests.progress import Progress
from load_tests.report.record import BASELINE, complete
from load_tests.report.write import write
from load_tests.samples import sample_items
from load_tests.scenarios import OFFLINE
from load_tests.server import serving, wait_planned
from services.compare import agreement
from services.errors import UsageError
from services.lock import VARIANTS, read_lock
from services.manifest import Manifest, read_manifest, sha256_of
from services.settings import Settings, prepare_bentoml
from training.energy import ABSENT

Row = dict[str, Any]
# A model -> what `export.compare` found on labelled rows; None where there are none.
Evidence = Callable[[str], Row | None]


@dataclass(frozen=True)
class Order:
    """What to measure, and how.

    quick: about five minutes for all; plan: how long to look, in place of what `quick` stands for
    models: all that are published without it; checkpoints: model to a folder with its full torch
    weights, measured as `pytorch-fp32`
    bodies: model to request bodies to send in place of the mixes (the user's own texts)
    command: as the user gave it, for the record
    """

    command: str = "transfer bench"
    out: Path = Path("reports")
    quick: bool = False
    models: Sequence[str] | None = None
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    plan: Plan | None = None
    p99_ms: float | None = None
    price_per_hour: float = PRICE_PER_HOUR
    evidence: Evidence | None = None
    bodies: Mapping[str, Sequence[Body]] | None = None


@dataclass(frozen=True)
class Published:
    """One variant of the lock file: `model/variant`, its folder and manifest."""

    key: str
    folder: Path
    manifest: Manifest


@dataclass(frozen=True)
class Job:
    """One model: its variants, biggest first, and the work.

    mixes: bodies of one text each, sent under load; samples: answered by every variant, to be
    compared with `full`
    """

    model: str
    variants: list[Published]
    mixes: Mapping[str, Sequence[Body]]
    samples: list[Body]
    checkpoint: Path | None


class Bench:
    """One run: rows and raw latencies grow, and are written at the end."""

    def __init__(self, order: Order) -> None:
        self.order = order
        prepare_bentoml()
        lock = read_lock(Settings.from_environment().lock)
        chosen = [key for key in lock if not order.models or key.split("/")[0] in order.models]
        baselines = len({key.split("/")[0] for key in chosen} & set(order.checkpoints))
        plan = order.plan or (quick(len(chosen), baselines) if order.quick else THOROUGH)
        self.plan = replace(plan, p99_ms=order.p99_ms or plan.p99_ms)
        self.jobs = jobs_of(lock, self.plan, order)
        steps = sum(len(job.variants) + bool(job.checkpoint) for job in self.jobs)
        self.progress = Progress(steps + (len(self.jobs) if order.evidence else 0))
        self.rows: list[Row] = []
        self.raw: list[Row] = []
        self.evidence: dict[str, Row] = {}

    def run(self) -> Path:
        """Measure everything, then write; returns the path of the HTML page.

        Raises UsageError for an unknown model, ServerError or LoadError when a measurement fails;
        then nothing is written.
        """
        before = busy_before()
        for job in self.jobs:
            self._judge(job)
            self._measure(job)
        about = {**self._environment(), "validity": before}
        record = complete(about, self.rows, self.evidence)
        path = write(record, self.order.out, self.raw)
        self.progress.close(f"done: {path}")
        return path

    def _judge(self, job: Job) -> None:
        """Quality and disagreements on labelled rows, before any load."""
        if self.order.evidence is None:
            return
        self.progress.step(f"{job.model}: quality on labelled rows")
        found = self.order.evidence(job.model)
        if found:
            self.evidence[job.model] = found

    def _measure(self, job: Job) -> None:
        answers: dict[str, list[Row]] = {}
        for variant in job.variants:
            self.progress.step(f"{variant.key}: offline")
            alone = offline(variant.folder, job.mixes[MIXED], job.samples, self.plan.offline_s)
            answers[variant.key] = alone.pop("answers")
            self.rows.append(
                {**described(variant), **self._served(job, variant), **self._offline(alone)}
            )
        self._compare(job, answers)
        if job.checkpoint:
            self.progress.step(f"{job.model}/{BASELINE}: in process")
            self.rows.append(baseline_row(job, job.checkpoint, self.plan))

    def _served(self, job: Job, variant: Published) -> Row:
        chosen = {"variant": variant.manifest.variant}
        mixes = {m: [{**body, **chosen} for body in job.mixes[m]] for m in job.mixes}

        def say(words: str) -> None:
            self.progress.note(f"{variant.key}: {words}")

        say("server")
        with serving([variant.key]) as server:
            wait_planned(server)
            observed = measure(server, variant.manifest.task, mixes, self.plan, say)
        self.raw += [{"model": variant.manifest.model, **chosen, **phase} for phase in observed.raw]
        row = observed.row
        if rate := row["max_rps_at_slo"]:
            row["cost_per_million"] = cost_per_million(rate, self.order.price_per_hour)
        return row

    def _offline(self, alone: Row) -> Row:
        energy = alone.pop("energy")
        row: Row = {"throughput_rps": alone["throughput_rps"], OFFLINE.name: alone}
        if energy:
            row["energy_wh_per_million"] = energy["wh"] / alone["items"] * 1e6
            row["energy"] = {"method": energy["method"], "estimated": energy["estimated"]}
        return row

    def _compare(self, job: Job, answers: Mapping[str, list[Row]]) -> None:
        """Agreement of every variant with `full` on the samples, and where they differ most."""
        first = job.variants[0]
        if first.manifest.variant != "full":
            return
        task = first.manifest.task
        for row in self.rows:
            key = f"{row['model']}/{row['variant']}"
            if key not in answers:
                continue
            row["agreement_with_full"] = agreement(task, answers[first.key], answers[key])
            row["agreement_n"] = len(job.samples)
            if key != first.key:
                row["differences"] = differences(
                    task, job.samples, answers[first.key], answers[key]
                )

    def _environment(self) -> Row:
        measured_energy = any("energy" in row for row in self.rows)
        return {
            **environment(),
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": self.order.command,
            "plan": asdict(self.plan),
            "seed": self.plan.seed,
            "price_per_hour": self.order.price_per_hour,
            "energy": "measured in `offline`, whole machine" if measured_energy else ABSENT,
            "artifacts": {
                variant.key: sha256_of(variant.folder / "manifest.json")
                for job in self.jobs
                for variant in job.variants
            },
            "texts": {
                job.model: {mix: words_of(bodies) for mix, bodies in job.mixes.items()}
                for job in self.jobs
            },
        }


def jobs_of(lock: Mapping[str, str], plan: Plan, order: Order) -> list[Job]:
    """The models to measure, with their variants biggest first."""
    known = list(dict.fromkeys(key.split("/")[0] for key in lock))
    unknown = sorted(set(order.models or ()) - set(known))
    if unknown:
        raise UsageError(
            f"No variant of {', '.join(unknown)} is published; there are {', '.join(known)}.",
            "Name one of these, or run `transfer build`.",
        )
    folders = dict(zip(lock, folders_of(list(lock.values())), strict=True))
    return [_job(model, folders, plan, order) for model in order.models or known]


def _job(model: str, folders: Mapping[str, Path], plan: Plan, order: Order) -> Job:
    keys = [key for key in folders if key.split("/")[0] == model]
    keys.sort(key=lambda key: VARIANTS.index(key.split("/")[1]))
    variants = [Published(key, folders[key], read_manifest(folders[key])) for key in keys]
    manifest = variants[0].manifest
    labels = zero_shot_labels() if manifest.kind == "zero-shot" else None
    if order.bodies and model in order.bodies:
        mixes: dict[str, Sequence[Body]] = {MIXED: order.bodies[model]}
    else:
        mixes = {
            mix: bodies_of(manifest.task, model, mix, labels=labels, seed=plan.seed)
            for mix in plan.mixes
        }
    samples = sample_items(manifest.task, model, labels=labels) or list(mixes[MIXED][:100])
    return Job(model, variants, mixes, samples, order.checkpoints.get(model))


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


def baseline_row(job: Job, checkpoint: Path, plan: Plan) -> Row:
    """PyTorch fp32 in process, on the same texts."""
    manifest = job.variants[0].manifest
    decoding = {**manifest.decoding, "max_tokens": manifest.max_tokens}
    bodies = list(job.mixes[MIXED])
    measured = baseline(
        manifest.kind, checkpoint, bodies, seconds=plan.offline_s, seed=plan.seed, **decoding
    )
    return {
        "task": manifest.task,
        "model": job.model,
        "variant": BASELINE,
        "parameters": manifest.parameters,
        "disk_mb": _weights_bytes(checkpoint) / MB,
        "transport": "in process",
        "threads": THREADS,
        **measured,
    }


def _weights_bytes(checkpoint: Path) -> int:
    names = ("*.safetensors", "pytorch_model*.bin", "tokenizer.json")
    return sum(path.stat().st_size for name in names for path in checkpoint.glob(name))
