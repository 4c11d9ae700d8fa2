"""The command line: one thin verb per stage.

    transfer VERB --help

Exit codes: 0 done, 1 the work failed or a gate did not hold, 2 wrong usage. Human words go to
stderr, results to stdout; `--json` makes them machine-readable.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from services.errors import TransferError, UsageError
from services.settings import ROOT, Settings, prepare_bentoml

WORK = ROOT / ".cache"
ADAPTERS = ROOT / "adapters"
CHECKPOINTS = Path("checkpoints")
REPORTS = Path("reports")
ENV_FILE = Path("serving.env")
TASKS = ("classify", "qa", "summarize")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    options = parser().parse_args(arguments)
    prepare_bentoml()
    try:
        return int(options.verb(options) or 0)
    except UsageError as error:
        return _fail(error, 2)
    except (
        TransferError
    ) as error:  # a request that the service would answer with 4xx is wrong usage
        return _fail(error, 2 if error.status < 500 else 1)
    except KeyboardInterrupt:
        return 130


def _fail(error: TransferError, code: int) -> int:
    print(f"transfer: {error}", file=sys.stderr)
    return code


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="transfer", description=(__doc__ or "").splitlines()[0])
    verbs = root.add_subparsers(title="verbs", required=True, metavar="VERB")
    for add in (
        _add_build,
        _add_train,
        _add_export,
        _add_reports,
        _add_serve,
        _add_measure,
        _add_look,
    ):
        add(verbs)
    return root


def _add_build(verbs: Any) -> None:
    build = _verb(verbs, "build", run_build, "adapters to verified, published variants")
    build.add_argument("models", nargs="*", help="only these models")
    build.add_argument("--fp16", action="store_true", help="also fp16 variants; needs a GPU")

    half = _verb(verbs, "half", run_half, "fp16 variants of built ones, verified on this GPU")
    half.add_argument("variants", type=Path, help="e.g. .cache/build/variants")


def _add_train(verbs: Any) -> None:
    train = _verb(verbs, "train", run_train, "fine-tune a recipe")
    train.add_argument("recipe", help="a preset or a YAML file")
    train.add_argument(
        "settings", nargs="*", metavar="key=value", help="out=DIR, data=PATH, any key"
    )

    distill = _verb(verbs, "distill", run_distill, "distill a student from a teacher checkpoint")
    distill.add_argument("recipe", help="a preset or a YAML file")
    distill.add_argument(
        "settings", nargs="*", metavar="key=value", help="teacher=DIR, out=DIR, data=PATH, any key"
    )
    distill.add_argument(
        "--no-control", action="store_true", help="skip the same student without its teacher"
    )


def _add_export(verbs: Any) -> None:
    export = _verb(verbs, "export", run_export, "checkpoint to verified, published variants")
    export.add_argument("checkpoint", type=Path)
    export.add_argument(
        "settings", nargs="*", metavar="key=value", help="data=PATH of the test rows"
    )
    export.add_argument(
        "--unmeasured", action="store_true", help="publish without the release gate"
    )
    export.add_argument("--fp16", action="store_true", help="also fp16; needs a GPU")

    pack = _verb(verbs, "pack", run_pack, "checkpoint to an adapter that ships, with its card")
    pack.add_argument("checkpoint", type=Path)
    pack.add_argument("adapter", type=Path, help="e.g. adapters/intent/full")
    pack.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="data=PATH, rank=64, also=RECIPE=PATH, any key",
    )


def _add_reports(verbs: Any) -> None:
    cards = _verb(verbs, "cards", run_cards, "measure the adapters and write their cards anew")
    cards.add_argument("data", type=Path, help="folder with the data that export/cards.yaml names")
    cards.add_argument("models", nargs="*", help="only these models")

    evaluate = _verb(verbs, "evaluate", run_evaluate, "every figure of one model on labelled rows")
    evaluate.add_argument("subject", help="a checkpoint's folder, or MODEL/VARIANT as published")
    evaluate.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="data=PATH, rows=all, slice=COLUMN, against=SUBJECT, recipe=, out=DIR, any key",
    )

    errors = _verb(verbs, "errors", run_errors, "show the rows that a published model gets wrong")
    errors.add_argument("model", help="a preset's name")
    errors.add_argument(
        "settings", nargs="*", metavar="key=value", help="variant=full, most=20, data=PATH, any key"
    )

    results = _verb(verbs, "results", run_results, "measure what docs/results.md shows")
    results.add_argument("name", choices=("published", "ways", "tables"))
    results.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="data=PATH; ways: checkpoint=, loras=DIR",
    )

    seeds = _verb(verbs, "seeds", run_seeds, "train a recipe and its student with several seeds")
    seeds.add_argument("recipe", help="a preset or a YAML file")
    seeds.add_argument(
        "settings", nargs="*", metavar="key=value", help="seeds=3, out=DIR, data=PATH, any key"
    )


def _add_serve(verbs: Any) -> None:
    serve = _verb(verbs, "serve", run_serve, "serve the published variants over REST")
    serve.add_argument("--port", type=int, default=3000)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--variants", default="", help="e.g. distilled-int8,zeroshot or intent/full")
    serve.add_argument("--env-file", type=Path, help="settings, e.g. what `choose` wrote")

    _verb(verbs, "reload", run_reload, "let running services load what is published now")

    demo = _verb(verbs, "demo", run_demo, "serve, show one call for each route, go on serving")
    demo.add_argument("--port", type=int, default=3000)
    demo.add_argument("--once", action="store_true", help="stop after the calls")

    predict = _verb(verbs, "predict", run_predict, "answer stdin, one text or JSON body per line")
    predict.add_argument("task", choices=TASKS)
    predict.add_argument("--model", default="")
    predict.add_argument("--variant", default="")
    predict.add_argument("--question", default="", help="qa: asked of every line")


def _add_measure(verbs: Any) -> None:
    compare = _verb(verbs, "compare", run_compare, "quality, agreement, size and speed of variants")
    compare.add_argument("model")
    compare.add_argument("--data", type=Path, help="labelled rows; the sample data without it")
    compare.add_argument(
        "--offline", action="store_true", help="with --data: no load tests, no report"
    )
    compare.add_argument("--out", type=Path, help="with --data: reports/compare-MODEL without it")

    bench = _verb(verbs, "bench", run_bench, "load tests and the trade-off report")
    bench.add_argument("--quick", action="store_true", help="under five minutes for all variants")
    bench.add_argument("--out", type=Path, default=REPORTS)
    bench.add_argument("--models", default="", help="only these, with commas")
    bench.add_argument(
        "--data", type=Path, help="folder with the data that export/cards.yaml names: judge on it"
    )
    bench.add_argument("--rows", type=int, default=0, help="at most so many labelled rows a model")
    bench.add_argument("--p99-ms", type=float, help="target of the highest rate (50)")
    bench.add_argument("--min-rps", type=float, default=0.0, help="exit code 1 below this rate")
    bench.add_argument("--price-per-hour", type=float, help="of this machine, for the costs")

    choose = _verb(verbs, "choose", run_choose, "the cheapest variant that meets demands")
    choose.add_argument("model")
    choose.add_argument("--p99-ms", type=float, required=True, help="at the rate that is promised")
    choose.add_argument("--max-loss", type=float, required=True, help="points against full")
    choose.add_argument("--max-memory-mb", type=float, help="peak PSS")
    choose.add_argument("--rps", type=float, default=0.0, help="requests a second of one machine")
    choose.add_argument("--report", type=Path, default=REPORTS / "tradeoff.json")
    choose.add_argument(
        "--env-file", type=Path, default=ENV_FILE, help="where the serving setting is written"
    )


def _add_look(verbs: Any) -> None:
    _verb(verbs, "models", run_models, "the published variants")
    doctor = _verb(verbs, "doctor", run_doctor, "what this machine has, and what is wrong with it")
    doctor.add_argument("--port", type=int, default=3000)


def _verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text.capitalize() + "."
    )
    made.add_argument("--json", action="store_true", help="machine-readable output")
    made.set_defaults(verb=run)
    return made


def _print(options: argparse.Namespace, content: Any, human: str) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False) if options.json else human)


def _settings(values: Sequence[str], *ours: str) -> tuple[dict[str, str], list[str]]:
    """Our own `key=value` settings, and the rest, which are recipe keys."""
    mine = [value for value in values if value.partition("=")[0] in ours and "=" in value]
    own = {name: text for name, _, text in (value.partition("=") for value in mine)}
    return own, [value for value in values if value not in mine]


def _checkpoint_recipe(checkpoint: Path, keys: Sequence[str]) -> Any:
    """The recipe that a finished checkpoint was trained with."""
    from training.checkpoint import read_description
    from training.recipe import load_recipe

    read_description(checkpoint)  # says so when the folder is no checkpoint
    return load_recipe(checkpoint / "recipe.yaml", keys)


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{name} is {text!r}; expected a whole number.", f"E.g. {name}=64.")
    return int(text)


def _also(text: str) -> dict[str, Path]:
    """`news=bbc.jsonl,other=FILE` to recipe -> path."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if any(not (name and path) for name, _, path in pairs):
        raise UsageError(f"also is {text!r}; expected RECIPE=PATH.", "E.g. also=news=bbc.jsonl.")
    return {name: Path(path) for name, _, path in pairs}


# Verbs


def run_build(options: argparse.Namespace) -> None:
    from export.plans import measure_missing
    from export.stamps import standing

    settings = Settings.from_environment()
    lock, work = settings.lock, WORK / "build"
    tags = standing(ADAPTERS, work, lock, options.models, options.fp16)
    if tags is None:
        from export.build import build
        from training.data import sample_rows

        fp16, bar = options.fp16, sys.stderr.isatty()
        tags = build(ADAPTERS, work, lock, sample_rows, options.models, fp16, bar)
    measure_missing(tags, settings)
    _print(options, {"variants": tags}, "\n".join(f"{key:28} {tag}" for key, tag in tags.items()))


def run_half(options: argparse.Namespace) -> None:
    from export.half import halve_all
    from training.data import sample_rows

    def advance(key: str) -> None:
        print(f"{key}: verified", file=sys.stderr)

    folders = halve_all(options.variants, sample_rows, advance)
    found = [str(folder) for folder in folders]
    _print(options, {"variants": found}, "\n".join(found))


def run_reload(options: argparse.Namespace) -> None:
    from services.running import tell_to_reload

    settings = Settings.from_environment()
    told = tell_to_reload(settings)
    if not told:
        raise UsageError(
            f"No service runs from {settings.lock}.", "Start one with `transfer serve`."
        )
    _print(options, {"processes": told}, f"told {len(told)} service(s); their logs say what came")


def run_train(options: argparse.Namespace) -> None:
    from training.finetune import finetune
    from training.recipe import load_recipe

    own, keys = _settings(options.settings, "out")
    recipe = load_recipe(options.recipe, keys)
    out = finetune(recipe, Path(own.get("out") or CHECKPOINTS / recipe.name), sys.stderr.isatty())
    _print_metrics(options, out)


def run_distill(options: argparse.Namespace) -> None:
    from training.distill import distill
    from training.recipe import load_recipe

    own, keys = _settings(options.settings, "out", "teacher")
    recipe = load_recipe(options.recipe, keys)
    teacher = Path(own.get("teacher") or CHECKPOINTS / recipe.name)
    out = Path(own.get("out") or CHECKPOINTS / f"{recipe.name}-distilled")
    distill(recipe, teacher, out, sys.stderr.isatty(), control=not options.no_control)
    _print_metrics(options, out)


def _print_metrics(options: argparse.Namespace, checkpoint: Path) -> None:
    metrics = json.loads((checkpoint / "metrics.json").read_text(encoding="utf-8"))
    test, train = metrics["test"], metrics["train"]
    lines = [
        f"{checkpoint}: {test['metric']} {test['value']:.4f} "
        f"[{test['ci_low']:.4f}, {test['ci_high']:.4f}] on {test['n']} test rows",
        f"{train['wall_time_s']:.0f} s, {train['tokens_per_s']} tokens/s",
    ]
    if plain := metrics.get("distillation", {}).get("without_teacher"):
        won = (
            "distillation won" if metrics["distillation"]["distillation_won"] else "it did not win"
        )
        lines.append(f"the same student without its teacher: {plain['value']:.4f} ({won})")
    _print(options, {"checkpoint": str(checkpoint), **metrics}, "\n".join(lines))


def run_export(options: argparse.Namespace) -> None:
    from export.checkpoint import export_checkpoint
    from training.data import sample_rows
    from training.held_out import held_out

    held = None
    if not options.unmeasured:
        held = held_out(_checkpoint_recipe(options.checkpoint, options.settings))
    lock = Settings.from_environment().lock
    tags = export_checkpoint(
        options.checkpoint, WORK / "export", lock, sample_rows, held, fp16=options.fp16
    )
    _print(options, {"variants": tags}, "\n".join(f"{key:28} {tag}" for key, tag in tags.items()))


def run_pack(options: argparse.Namespace) -> None:
    from export.release import release
    from training.data import sample_rows
    from training.held_out import held_out

    own, keys = _settings(options.settings, "rank", "also")
    rank, also = _number("rank", own.get("rank", "0")), _also(own.get("also", ""))
    held = held_out(_checkpoint_recipe(options.checkpoint, keys), also)
    card = release(options.checkpoint, options.adapter, WORK / "pack", held, sample_rows, rank)
    _print(options, card, f"{options.adapter}: {_measured(card)}")


def run_cards(options: argparse.Namespace) -> None:
    from export.cards import rewrite_cards
    from training.data import sample_rows

    def advance(key: str) -> None:
        print(f"{key}: measured", file=sys.stderr)

    cards = rewrite_cards(
        ADAPTERS, options.data, WORK / "pack", sample_rows, options.models, advance=advance
    )
    human = "\n".join(f"{key:24} {_measured(card)}" for key, card in cards.items())
    _print(options, cards, human)


def _measured(card: dict[str, Any]) -> str:
    return "  ".join(f"{name} {found['value']:.4f}" for name, found in card["quality"].items())


def run_evaluate(options: argparse.Namespace) -> None:
    from export.evaluation import (
        evaluate_subject,
        find_subject,
        refuse_other_rows,
        report_name,
        write_report,
    )
    from training.held_out import all_rows, exam
    from training.metrics.slices import group_of_rows
    from training.metrics.table import table

    own, keys = _settings(options.settings, "slice", "against", "rows", "recipe", "out")
    if own.get("rows", "test") not in ("test", "all"):
        raise UsageError(f"rows is {own['rows']!r}; expected test or all.", "E.g. rows=all.")
    lock = Settings.from_environment().lock
    subject = find_subject(options.subject, lock)
    other = find_subject(own["against"], lock) if own.get("against") else None
    recipe = _recipe_of(options.subject, own.get("recipe", ""), keys)
    found = all_rows(recipe) if own.get("rows") == "all" else exam(recipe)
    for one in (subject, other):
        if one is not None:
            refuse_other_rows(one, found)
    columns = [column for column in own.get("slice", "").split(",") if column]
    groups = {column: group_of_rows(recipe, found.rows, column) for column in columns}
    measured = evaluate_subject(subject, found, groups, other)
    measured.record.update({"baselines": found.baselines, **_where()})
    folder = Path(own.get("out") or REPORTS / "evaluation")
    path = write_report(report_name(subject), measured, folder)
    _print(options, {"report": str(path), **measured.record}, f"{table(measured.record)}\n\n{path}")


def _recipe_of(subject: str, recipe: str, keys: Sequence[str]) -> Any:
    """The recipe whose data judges a subject: the one named, a checkpoint's own, or the preset."""
    from training.recipe import load_recipe

    if recipe:
        return load_recipe(recipe, keys)
    if (Path(subject) / "recipe.yaml").is_file():
        return _checkpoint_recipe(Path(subject), keys)
    return load_recipe(subject.partition("/")[0], keys)


def run_errors(options: argparse.Namespace) -> None:
    from export.errors import find_variant, shown, worst_rows
    from training.held_out import exam
    from training.recipe import load_recipe

    own, keys = _settings(options.settings, "variant", "most")
    most, variant = _number("most", own.get("most", "20")), own.get("variant", "distilled-int8")
    runtime = find_variant(Settings.from_environment().lock, options.model, variant)
    faults = worst_rows(runtime, exam(load_recipe(options.model, keys)), most)
    _print(options, {"errors": faults}, shown(faults))


def run_results(options: argparse.Namespace) -> None:
    from export.results import DOCUMENT, write_result, write_tables

    if options.name == "tables":
        write_tables()
        _print(options, {"document": str(DOCUMENT)}, str(DOCUMENT))
        return
    measure = {"published": _published, "ways": _ways}[options.name]
    path = write_result(options.name, {**measure(options.settings), **_where()})
    _print(options, {"record": str(path)}, str(path))


def _where() -> dict[str, Any]:
    """Where a record was measured."""
    from load_tests.environment import environment

    return {"environment": environment()}


def _published(settings: Sequence[str]) -> dict[str, Any]:
    from export.published import MODEL, measure_published
    from training.held_out import exam
    from training.recipe import load_recipe

    found = exam(load_recipe(MODEL, settings))
    return measure_published(Settings.from_environment().lock, found.rows, found.out_of_scope)


def _ways(settings: Sequence[str]) -> dict[str, Any]:
    from export.ways import compare_ways, find_loras
    from training.held_out import exam

    own, keys = _settings(settings, "checkpoint", "loras")
    checkpoint = Path(own.get("checkpoint") or CHECKPOINTS / "intent")
    loras = find_loras(Path(own["loras"])) if own.get("loras") else []
    found = exam(_checkpoint_recipe(checkpoint, keys))

    def advance(way: str) -> None:
        print(f"{way}: measured", file=sys.stderr)

    return compare_ways(checkpoint, loras, WORK / "ways", found, advance=advance)


def run_seeds(options: argparse.Namespace) -> None:
    from export.results import write_tables
    from training.recipe import load_recipe
    from training.seeds import run_seeds

    own, keys = _settings(options.settings, "seeds", "out")
    name = load_recipe(options.recipe, keys).name
    out = Path(own.get("out") or CHECKPOINTS / "seeds" / name)
    count = _number("seeds", own.get("seeds", "3"))
    entry = run_seeds(options.recipe, keys, count, out, progress=sys.stderr.isatty())
    write_tables()
    lines = [
        f"{part}: {entry['metric']} {found['mean']:.4f}, std {found['std']:.4f}"
        for part, found in entry["parts"].items()
    ]
    _print(options, {name: entry}, "\n".join(lines))


def run_serve(options: argparse.Namespace) -> int:
    import os

    from services.demo import serve_command

    if options.env_file:
        os.environ.update(_read_env(options.env_file))
    if options.variants:
        os.environ["TRANSFER_VARIANTS"] = options.variants
    Settings.from_environment()  # all faults now, in one line
    os.chdir(ROOT)
    # Replaced, not started: signals reach BentoML's supervisor directly.
    os.execv(sys.executable, serve_command(options.host, options.port))


def _read_env(path: Path) -> dict[str, str]:
    """Lines of NAME=VALUE; empty ones and those that begin with # are left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error}).", "`transfer choose` writes one."
        ) from error
    pairs = [line.partition("=") for line in lines if line.strip() and not line.startswith("#")]
    if any(not (name and equals) for name, equals, _ in pairs):
        raise UsageError(f"{path} holds a line that is not NAME=VALUE.", "E.g. TRANSFER_THREADS=2.")
    return {name.strip(): value.strip() for name, _, value in pairs}


def run_demo(options: argparse.Namespace) -> int:
    from services.demo import demo

    Settings.from_environment()
    return demo(options.port, options.once)


def run_predict(options: argparse.Namespace) -> None:
    from services.predict import predict_lines

    choices = {"model": options.model, "variant": options.variant, "question": options.question}
    if isinstance(sys.stdin, io.TextIOWrapper):  # bytes that are no UTF-8 are a fault of their line
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    for answer in predict_lines(options.task, sys.stdin, Settings.from_environment(), **choices):
        print(json.dumps(answer, ensure_ascii=False), flush=True)


def run_compare(options: argparse.Namespace) -> None:
    from export.compare import compare_variants, table
    from training.data import rows_for, sample_rows

    rows: list[Any] = []

    def rows_of(kind: str, labels: Sequence[str], multi_label: bool) -> Sequence[Any]:
        rows[:] = rows_for(kind, options.data, multi_label) if options.data else sample_rows(kind)
        return rows

    labelled = bool(options.data)
    report = compare_variants(options.model, Settings.from_environment(), rows_of, labelled)
    human = table(report)
    if options.data and not options.offline:
        page = _compare_under_load(options, report, rows)
        report["report"], human = str(page), f"{human}\n{page}"
    _print(options, report, human)


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it in a process that ends.

    Libraries that the one who measures shares with a server would count as half of its memory.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _measure_plans(models: Sequence[str] | None) -> None:
    """How each variant is best called: measured by a server under test, it would cost memory."""
    from export.plans import measure_missing
    from services.registry import read_lock

    settings = Settings.from_environment()
    lock = read_lock(settings.lock)
    tags = {key: tag for key, tag in lock.items() if not models or key.split("/")[0] in models}
    measure_missing(tags, settings, list(tags))


def _compare_under_load(
    options: argparse.Namespace, report: dict[str, Any], rows: Sequence[Any]
) -> Path:
    """The trade-off report of one model, asked and judged with the user's own rows."""
    from export.compare import bodies_of
    from load_tests.bench import Bench, Order
    from load_tests.mixes import MOST
    from training.data import sample

    model = options.model
    _apart(_measure_plans, [model])
    found = {**report, "data": options.data.name}
    return Bench(
        Order(
            command=f"transfer compare {model} --data {options.data.name}",
            out=options.out or REPORTS / f"compare-{model}",
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
    full = {folder.parent.name: folder for folder in (WORK / "build/checkpoints").glob("*/full")}
    price = PRICE_PER_HOUR if options.price_per_hour is None else options.price_per_hour
    order = Order(
        command=_bench_command(options),
        out=options.out,
        quick=options.quick,
        models=models,
        checkpoints=full,
        p99_ms=options.p99_ms,
        price_per_hour=price,
        evidence=(lambda model: _apart(_judge, options.data, options.rows, model))
        if options.data
        else None,
    )
    bench = Bench(order)  # refuses unknown models before anything is measured
    _apart(_measure_plans, models)
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
    _print(options, {"report": str(path), "verdicts": record["verdicts"]}, human)
    return int(bool(slow))


def _bench_command(options: argparse.Namespace) -> str:
    """As the user gave it, without the folders of their machine."""
    parts = ["transfer bench"] + ["--quick"] * options.quick
    parts += [f"--models {options.models}"] if options.models else []
    parts += ["--data FOLDER"] if options.data else []
    parts += [f"--rows {options.rows}"] if options.rows else []
    parts += [f"--p99-ms {options.p99_ms:g}"] if options.p99_ms else []
    return " ".join(parts)


def _judge(data: Path, rows: int, model: str) -> dict[str, Any] | None:
    """The variants of a model on the test rows of its data; None where it has none."""
    from export.cards import plan_of
    from export.compare import compare_variants
    from training.data import sample
    from training.held_out import held_out_for

    plan = plan_of()
    if model not in plan:
        return None
    exam = held_out_for(model, plan[model], data).test
    chosen = sample(exam.rows, rows, 0)
    found = compare_variants(
        model, Settings.from_environment(), lambda *_: chosen, True, exam.summary_sentences
    )
    return {**found, "data": exam.data}


def run_choose(options: argparse.Namespace) -> None:
    from load_tests.choose import Demands, choose, told, write_setting
    from load_tests.report.write import read_record

    demands = Demands(options.p99_ms, options.max_loss, options.max_memory_mb, options.rps)
    chosen = choose(read_record(options.report), options.model, demands)
    setting = write_setting(options.env_file, options.model, chosen.variant)
    human = f"{told(options.model, chosen, demands)}\n{options.env_file}: {setting}"
    found = {
        "model": options.model,
        "variant": chosen.variant,
        "rate": chosen.rate,
        "p99_ms": chosen.p99_ms,
        "loss": chosen.loss,
        "cost_per_million": chosen.cost,
        "setting": setting,
        "env_file": str(options.env_file),
    }
    _print(options, found, human)


def run_models(options: argparse.Namespace) -> None:
    from services.registry import published_models, read_lock

    entries = published_models(read_lock(Settings.from_environment().lock))
    rows = [
        f"{row['model']:12}{row['variant']:16}{row['size_bytes'] / 1e6:7.1f} MB  {row['path']}"
        for row in entries
    ]
    _print(options, {"models": entries}, "\n".join(rows))


def run_doctor(options: argparse.Namespace) -> int:
    from export.doctor import examine

    findings = examine(Settings.from_environment(), options.port)
    marks = {True: "ok  ", False: "FAIL", None: "    "}
    human = "\n".join(f"{marks[f['ok']]} {f['name']:12} {f['found']}" for f in findings)
    _print(options, {"findings": findings}, human)
    return 1 if any(finding["ok"] is False for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
