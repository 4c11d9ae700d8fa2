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

    build = _verb(verbs, "build", run_build, "adapters to verified, published variants")
    build.add_argument("models", nargs="*", help="only these models")
    build.add_argument("--fp16", action="store_true", help="also fp16 variants; needs a GPU")

    half = _verb(verbs, "half", run_half, "fp16 variants of built ones, verified on this GPU")
    half.add_argument("variants", type=Path, help="e.g. .cache/build/variants")

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

    cards = _verb(verbs, "cards", run_cards, "measure the adapters and write their cards anew")
    cards.add_argument("data", type=Path, help="folder with the data that export/cards.yaml names")
    cards.add_argument("models", nargs="*", help="only these models")

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

    serve = _verb(verbs, "serve", run_serve, "serve the published variants over REST")
    serve.add_argument("--port", type=int, default=3000)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--variants", default="", help="e.g. distilled-int8,zeroshot or intent/full")

    _verb(verbs, "reload", run_reload, "let running services load what is published now")

    demo = _verb(verbs, "demo", run_demo, "serve, show one call for each route, go on serving")
    demo.add_argument("--port", type=int, default=3000)
    demo.add_argument("--once", action="store_true", help="stop after the calls")

    predict = _verb(verbs, "predict", run_predict, "answer stdin, one text or JSON body per line")
    predict.add_argument("task", choices=TASKS)
    predict.add_argument("--model", default="")
    predict.add_argument("--variant", default="")
    predict.add_argument("--question", default="", help="qa: asked of every line")

    compare = _verb(verbs, "compare", run_compare, "quality, agreement, size and speed of variants")
    compare.add_argument("model")
    compare.add_argument("--data", type=Path, help="labelled rows; the sample data without it")

    bench = _verb(verbs, "bench", run_bench, "load tests and the trade-off report")
    bench.add_argument("--quick", action="store_true", help="a few seconds for each variant")
    bench.add_argument("--out", type=Path, default=Path("reports"))
    bench.add_argument("--models", default="", help="only these, with commas")

    _verb(verbs, "models", run_models, "the published variants")
    doctor = _verb(verbs, "doctor", run_doctor, "what this machine has, and what is wrong with it")
    doctor.add_argument("--port", type=int, default=3000)
    return root


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

    if options.variants:
        os.environ["TRANSFER_VARIANTS"] = options.variants
    Settings.from_environment()  # all faults now, in one line
    os.chdir(ROOT)
    # Replaced, not started: signals reach BentoML's supervisor directly.
    os.execv(sys.executable, serve_command(options.host, options.port))


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

    def rows_of(kind: str, labels: Sequence[str], multi_label: bool) -> Sequence[Any]:
        if options.data:
            return rows_for(kind, options.data, multi_label)
        return sample_rows(kind)

    report = compare_variants(
        options.model, Settings.from_environment(), rows_of, bool(options.data)
    )
    _print(options, report, table(report))


def run_bench(options: argparse.Namespace) -> None:
    from load_tests.report import bench

    models = [name for name in options.models.split(",") if name] or None
    # What `transfer build` rebuilt from the adapters; measured beside the served variants.
    full = {folder.parent.name: folder for folder in (WORK / "build/checkpoints").glob("*/full")}
    path = bench(quick=options.quick, out=options.out, models=models, checkpoints=full)
    _print(options, {"report": str(path)}, str(path))


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
