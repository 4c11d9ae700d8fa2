"""What one model is worth on held-out rows, in every precision: the measured part of its card.

    record = measure_variants([fp32_folder, int8_folder], held)

In: folders of variants of one model, and rows (`training.held_out`). Out: quality with intervals,
calibration error before and after, what int8 loses, baselines, other data, and weak spots.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.runtime import Runtime
from services.tasks.base import Outputs
from services.windows import Window
from training.calibration_error import Calibration, calibration
from training.evaluate import Evaluation, Infer, agreement, paired_loss, run, score
from training.held_out import Exam, HeldOut
from training.weak_spots import Spots, weak_spots

PRECISIONS = ("fp32", "int8")


@dataclass(frozen=True)
class Judged:
    """One variant on one exam."""

    evaluation: Evaluation
    calibration: list[Calibration]
    weak_spots: Spots


def judge(runtime: Runtime, exam: Exam) -> Judged:
    """Run all rows once, through the code that serves, and look at the answers from every side."""
    task, rows = runtime.task, exam.rows
    encoded, outputs = run(task, rows, in_threads(runtime))
    found = score(task, rows, encoded, outputs, exam.out_of_scope, exam.summary_sentences)
    errors = calibration(task, rows, encoded, outputs, exam.out_of_scope)
    spots = weak_spots(task, rows, found, encoded, outputs, exam.out_of_scope)
    return Judged(found, errors, spots)


def in_threads(runtime: Runtime, threads: int = 2) -> Infer:
    """Run windows on several cores: one call per core, as the service does."""

    def infer(windows: Sequence[Window]) -> list[Outputs]:
        size = max(1, -(-len(windows) // (threads * 8)))
        pieces = [windows[i : i + size] for i in range(0, len(windows), size)]
        with ThreadPoolExecutor(threads) as pool:
            return [output for piece in pool.map(runtime.infer, pieces) for output in piece]

    return infer


def measure_variants(folders: Sequence[Path], held: HeldOut) -> dict[str, Any]:
    """The parts of the card that are measured.

    folders: the fp32 variant and its int8 one, in this order
    """
    runtimes = [Runtime.load(folder) for folder in folders[:2]]
    judged = [judge(runtime, held.test) for runtime in runtimes]
    full, small = (one.evaluation for one in judged)
    loss, low, high = paired_loss(full, small)
    data = held.test.data
    record = {
        "quality": _by_precision([{**one.evaluation.record(), "data": data} for one in judged]),
        "calibration": _by_precision([[c.record() for c in one.calibration] for one in judged]),
        "int8_loss": {"value": loss, "ci_low": low, "ci_high": high},
        "int8_agreement_on_test": agreement(full, small),
        "weak_spots": judged[0].weak_spots,
        "also": {name: _other(runtimes, exam) for name, exam in held.also.items()},
    }
    if held.test.baselines:
        record["baselines"] = held.test.baselines
    return record


def _by_precision(found: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(PRECISIONS, found, strict=False))


def _other(runtimes: Sequence[Runtime], exam: Exam) -> dict[str, Any]:
    """An exam besides the test split."""
    judged = [judge(runtime, exam) for runtime in runtimes]
    return {
        "data": exam.data,
        "quality": _by_precision([one.evaluation.record() for one in judged]),
        "calibration": _by_precision([[c.record() for c in one.calibration] for one in judged]),
        "weak_spots": judged[0].weak_spots,
        "baselines": exam.baselines,
    }
