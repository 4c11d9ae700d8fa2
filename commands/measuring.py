"""What is measured under load, and what that shows: compare, bench."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from commands import places
from commands.base import show, verb
from services.settings import Settings


def add(verbs: Any) -> None:
    compare = verb(verbs, "compare", run_compare, "quality, agreement, size and speed of variants")
    compare.add_argument("model")
    compare.add_argument("--data", type=Path, help="labelled rows; the sample data without it")
    compare.add_argument(
        "--offline", action="store_true", help="with --data: no load tests, no report"
    )
    compare.add_argument("--out", type=Path, help="with --data: reports/compare-MODEL without it")

    bench = verb(verbs, "bench", run_bench, "load tests and the trade-off report")
    bench.add_argument("--quick", action="store_true", help="under five minutes for all variants")
    bench.add_argument("--out", type=Path, default=places.REPORTS)
    bench.add_argument("--models", default="", help="only these, with commas")
    bench.add_argument(
        "--data", type=Path, help="folder with the data that export/cards.yaml names: judge on it"
    )
    bench.add_argument("--rows", type=int, default=0, help="at most so many labelled rows a model")
    bench.add_argument("--p99-ms", type=float, help="target of the highest rate (50)")
    bench.add_argument("--min-rps", type=float, default=0.0, help="exit code 1 below this rate")
    bench.add_argument("--price-per-hour", type=float, help="of this machine, for the costs")


def run_compare(options: argparse.Namespace) -> None:
    report, human, rows = apart(compared, options.model, options.data)
    if options.data and not options.offline:
        page = compare_under_load(options, report, rows)
        report["report"], human = str(page), f"{human}\n{page}"
    show(options, report, human)


def compared(model: str, data: Path | None) -> tuple[dict[str, Any], str, list[Any]]:
    """(the report, its table, the rows) of all variants of a model, without load."""
    from export.compare import compare_variants, table
    from training.data import rows_for, sample_rows

    rows: list[Any] = []

    def rows_of(kind: str, labels: Sequence[str], multi_label: bool) -> Sequence[Any]:
        rows[:] = rows_for(kind, data, multi_label) if data else sample_rows(kind)
        return rows

    report = compare_variants(model, Settings.from_environment(), rows_of, bool(data))
    return report, table(report), rows


def compare_under_load(
    options: argparse.Namespace, report: dict[str, Any], rows: Sequence[Any]
) -> Path:
    """The trade-off report of one model, asked and judged with the user's own rows."""
    from export.compare import bodies_of
    from load_tests.bench import Bench, Order
    from load_tests.mixes import MOST
    from training.splits import sample

    model = options.model
    apart(measure_plans, [model])
    found = {**report, "data": options.data.name}
    return Bench(
        Order(
            command=f"transfer compare {model} --data {options.data.name}",
            out=options.out or places.REPORTS / f"compare-{model}",
            quick=True,
            models=[model],
            evidence=lambda _: found,
            bodies={model: bodies_of(model, sample(list(rows), MOST, 0))},
        )
    ).run()


def run_bench(options: argparse.Namespace) -> int:
    from load_tests.bench import Bench, Order
    from load_tests.cost import PRICE_PER_HOUR
    from load_tests.report.write import read_record

    models = [name for name in options.models.split(",") if name] or None
    # What `transfer build` rebuilt from the adapters; measured beside the served variants.
    full = {
        folder.parent.name: folder for folder in (places.WORK / "build/checkpoints").glob("*/full")
    }
    price = PRICE_PER_HOUR if options.price_per_hour is None else options.price_per_hour
    order = Order(
        command=bench_command(options),
        out=options.out,
        quick=options.quick,
        models=models,
        checkpoints=full,
        p99_ms=options.p99_ms,
        price_per_hour=price,
        evidence=(lambda model: apart(judge_on, options.data, options.rows, model))
        if options.data
        else None,
    )
    bench = Bench(order)  # refuses unknown models before anything is measured
    apart(measure_plans, models)
    path = bench.run()
    record = read_record(path.with_suffix(".json"))
    slow = [row for row in record["variants"] if row.get("max_rps_at_slo", 1e9) < options.min_rps]
    for row in slow:
        print(
            f"{row['model']}/{row['variant']} serves {row['max_rps_at_slo']:.0f} requests/s within "
            f"the target; expected at least {options.min_rps:g}.",
            file=sys.stderr,
        )
    human = "\n".join([*record["verdicts"], str(path)])
    show(options, {"report": str(path), "verdicts": record["verdicts"]}, human)
    return int(bool(slow))


def bench_command(options: argparse.Namespace) -> str:
    """As the user gave it, without the folders of their machine."""
    parts = ["transfer bench"] + ["--quick"] * options.quick
    parts += [f"--models {options.models}"] if options.models else []
    parts += ["--data FOLDER"] if options.data else []
    parts += [f"--rows {options.rows}"] if options.rows else []
    numbers = {
        "p99-ms": options.p99_ms,
        "min-rps": options.min_rps or None,
        "price-per-hour": options.price_per_hour,
    }
    parts += [f"--{name} {value:g}" for name, value in numbers.items() if value is not None]
    return " ".join(parts)


def judge_on(data: Path, rows: int, model: str) -> dict[str, Any] | None:
    """The variants of a model on the test rows of its data; None where it has none."""
    from export.cards import plan_of
    from export.compare import compare_variants
    from training.held_out import held_out_for
    from training.splits import sample

    plan = plan_of()
    if model not in plan:
        return None
    exam = held_out_for(model, plan[model], data).test
    numbers = sample(list(range(len(exam.rows))), rows, 0)
    chosen = [exam.rows[number] for number in numbers]
    found = compare_variants(
        model, Settings.from_environment(), lambda *_: chosen, True, exam.summary_sentences, numbers
    )
    return {**found, "data": exam.data}


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it in a process that ends.

    Libraries that the one who measures shares with a server would count as half of its memory.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure_plans(models: Sequence[str] | None) -> None:
    """How each variant is best called: measured by a server under test, it would cost memory."""
    from export.plans import measure_missing
    from services.lock import read_lock

    settings = Settings.from_environment()
    lock = read_lock(settings.lock)
    tags = {key: tag for key, tag in lock.items() if not models or key.split("/")[0] in models}
    measure_missing(tags, settings, list(tags))
