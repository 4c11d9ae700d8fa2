"""What serves and answers: serve, reload, demo, predict, models, doctor."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from commands.base import show, verb
from services.errors import UsageError
from services.settings import ROOT, Settings

TASKS = ("classify", "qa", "summarize")


def add(verbs: Any) -> None:
    serve = verb(verbs, "serve", run_serve, "serve the published variants over REST")
    serve.add_argument("--port", type=int, default=3000)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--variants", default="", help="e.g. distilled-int8,zeroshot or intent/full")
    serve.add_argument("--env-file", type=Path, help="settings, e.g. what `choose` wrote")

    verb(verbs, "reload", run_reload, "let running services load what is published now")

    demo = verb(verbs, "demo", run_demo, "serve, show one call for each route, go on serving")
    demo.add_argument("--port", type=int, default=3000)
    demo.add_argument("--once", action="store_true", help="stop after the calls")

    predict = verb(verbs, "predict", run_predict, "answer stdin, one text or JSON body per line")
    predict.add_argument("task", choices=TASKS)
    predict.add_argument("--model", default="")
    predict.add_argument("--variant", default="")
    predict.add_argument("--question", default="", help="qa: asked of every line")

    verb(verbs, "models", run_models, "the published variants")
    doctor = verb(verbs, "doctor", run_doctor, "what this machine has, and what is wrong with it")
    doctor.add_argument("--port", type=int, default=3000)


def run_serve(options: argparse.Namespace) -> int:

    from services.demo import serve_command

    if options.env_file:
        os.environ.update(read_env(options.env_file))
    if options.variants:
        os.environ["TRANSFER_VARIANTS"] = options.variants
    Settings.from_environment()  # all faults now, in one line
    os.chdir(ROOT)
    # Replaced, not started: signals reach BentoML's supervisor directly.
    os.execv(sys.executable, serve_command(options.host, options.port))


def read_env(path: Path) -> dict[str, str]:
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


def run_reload(options: argparse.Namespace) -> None:
    from services.running import tell_to_reload

    settings = Settings.from_environment()
    told = tell_to_reload(settings)
    if not told:
        raise UsageError(
            f"No service runs from {settings.lock}.", "Start one with `transfer serve`."
        )
    show(options, {"processes": told}, f"told {len(told)} service(s); their logs say what came")


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


def run_models(options: argparse.Namespace) -> None:
    from services.lock import read_lock
    from services.registry import published_models

    entries = published_models(read_lock(Settings.from_environment().lock))
    rows = [
        f"{row['model']:12}{row['variant']:16}{row['size_bytes'] / 1e6:7.1f} MB  {row['path']}"
        for row in entries
    ]
    show(options, {"models": entries}, "\n".join(rows))


def run_doctor(options: argparse.Namespace) -> int:
    from export.doctor import examine

    findings = examine(Settings.from_environment(), options.port)
    marks = {True: "ok  ", False: "FAIL", None: "    "}
    human = "\n".join(f"{marks[f['ok']]} {f['name']:12} {f['found']}" for f in findings)
    show(options, {"findings": findings}, human)
    return 1 if any(finding["ok"] is False for finding in findings) else 0
