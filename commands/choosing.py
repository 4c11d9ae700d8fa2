"""What a trade-off report is good for: choose, plan."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from commands import places
from commands.base import show, verb
from services.settings import ROOT

PUBLISHED_REPORT = ROOT / "docs" / "results" / "tradeoff.json"


def add(verbs: Any) -> None:
    choose = verb(verbs, "choose", run_choose, "the cheapest variant that meets demands")
    choose.add_argument("model")
    choose.add_argument("--p99-ms", type=float, required=True, help="at the rate that is promised")
    choose.add_argument("--max-loss", type=float, required=True, help="points against full")
    choose.add_argument("--max-memory-mb", type=float, help="peak PSS")
    choose.add_argument("--rps", type=float, default=0.0, help="requests a second of one machine")
    choose.add_argument("--report", type=Path, default=places.REPORTS / "tradeoff.json")
    choose.add_argument(
        "--env-file",
        type=Path,
        default=places.ENV_FILE,
        help="where the setting is written",
    )

    plan = verb(verbs, "plan", run_plan, "replicas, nodes and cost of a load, for each variant")
    plan.add_argument("models", nargs="*", help="only these models")
    plan.add_argument("--rps", type=float, required=True, help="requests a second")
    plan.add_argument("--p99-ms", type=float, required=True, help="of the whole fleet")
    plan.add_argument("--utilization", type=float, default=0.7, help="share of a replica's rate")
    plan.add_argument("--spare", type=int, default=1, help="replicas that may be missing")
    plan.add_argument("--node-cores", type=int, default=16)
    plan.add_argument("--node-gib", type=float, default=64.0, help="memory of a node")
    plan.add_argument("--node-price", type=float, help="an hour; by the report's without it")
    plan.add_argument("--report", type=Path, default=places.REPORTS / "tradeoff.json")


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
    show(options, found, human)


def run_plan(options: argparse.Namespace) -> None:
    from load_tests.capacity import Wanted, plan, record_of, told
    from load_tests.report.write import read_record

    wanted = Wanted(
        options.rps,
        options.p99_ms,
        options.utilization,
        options.spare,
        options.node_cores,
        options.node_gib,
        options.node_price,
    )
    report = options.report
    if report == places.REPORTS / "tradeoff.json" and not report.is_file():
        report = PUBLISHED_REPORT
        print(f"no {options.report}: planning with {report.relative_to(ROOT)}", file=sys.stderr)
    record = read_record(report)
    fleets = plan(record, wanted, options.models)
    show(options, record_of(fleets, wanted), told(fleets, wanted, record))
