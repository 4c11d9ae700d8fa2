"""The whole report over tiny real variants: real servers, real load, in a process of its own."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from load_tests.bench import Order, jobs_of
from load_tests.plan import AROUND_S, BASELINE_S, LEAST_PHASE_S, THOROUGH, Plan, quick
from load_tests.server import ROOT
from services.errors import UsageError

pytestmark = pytest.mark.alone

SCRIPT = """
import json, sys
from pathlib import Path
from load_tests.bench import Bench, Order
from load_tests.plan import Plan
evidence = json.loads(sys.argv[3])
Bench(Order(command="transfer bench --models intent,reader", out=Path(sys.argv[1]),
    models=["intent", "reader"], checkpoints={"intent": Path(sys.argv[2])},
    evidence=evidence.get,
    plan=Plan(settle_s=0.1, single_s=0.5, batch_s=0.3, probe_s=0.4, probes=2, confirm_s=0.5,
        offline_s=0.3, mixes=("short", "mixed"), p99_ms=200.0, seed=3))).run()
"""
EVIDENCE = {
    "intent": {
        "data": "made up",
        "rows": 10,
        "variants": [
            {
                "variant": "distilled-int8",
                "n": 10,
                "agreement": 0.9,
                "quality": {"metric": "accuracy", "value": 0.8, "n": 10},
                "loss": {"value": 0.1, "ci_low": 0.0, "ci_high": 0.3},
            }
        ],
    }
}


@pytest.fixture(scope="module")
def run(
    published: Mapping[str, str],
    checkpoints: Mapping[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, str]:
    """The folder that the report was written to, and stderr."""
    out = tmp_path_factory.mktemp("report") / "reports"
    checkpoint = str(checkpoints["sequence-classification"])
    command = [sys.executable, "-c", SCRIPT, str(out), checkpoint, json.dumps(EVIDENCE)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **published},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return out, done.stderr


@pytest.fixture(scope="module")
def record(run: tuple[Path, str]) -> dict[str, Any]:
    return dict(json.loads((run[0] / "tradeoff.json").read_text()))


def row_of(record: dict[str, Any], model: str, variant: str) -> dict[str, Any]:
    (row,) = [r for r in record["variants"] if (r["model"], r["variant"]) == (model, variant)]
    return dict(row)


def test_every_variant_of_the_chosen_models_has_a_row(record: dict[str, Any]) -> None:
    assert [(row["model"], row["variant"]) for row in record["variants"]] == [
        ("intent", "full"),
        ("intent", "distilled-int8"),
        ("intent", "pytorch-fp32"),
        ("reader", "full"),
    ]


def test_a_row_has_what_was_measured(record: dict[str, Any]) -> None:
    row = row_of(record, "intent", "full")
    assert row["quality"] == {"metric": "accuracy", "value": 0.9, "n": 100, "data": "made up"}
    assert row["parameters"] == 300
    assert 0 < row["disk_mb"] < 1
    assert row["cold_start_s"] > 0.3
    assert 50 < row["idle_pss_mb"] <= row["peak_pss_mb"]
    assert row["p95_pss_mb"] <= row["peak_pss_mb"]
    assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p95"] <= row["latency_ms"]["p99"]
    assert row["throughput_rps"] > 10
    assert len(row["memory"]) > 5
    assert row["agreement_with_full"] == 1.0
    assert row["agreement_n"] == 100


def test_every_scenario_ran(record: dict[str, Any]) -> None:
    row = row_of(record, "reader", "full")
    assert row["scenarios"]["single_stream"].keys() == {"short", "mixed"}
    assert row["scenarios"]["batch"]["mixed"]["texts_per_s"] > 10
    assert row["offline"]["items"] > 10
    for phase in (*row["scenarios"]["single_stream"].values(), *row["rates"]):
        assert phase["failures"] == {}
    assert {"queue", "tokenize", "infer", "decode", "total", "client"} <= row["stages_ms"].keys()


def test_the_highest_rate_is_one_that_was_confirmed_or_none(record: dict[str, Any]) -> None:
    for row in record["variants"]:
        if row["variant"] == "pytorch-fp32":
            continue
        held = [one for one in row["rates"] if one["confirms"] and one["met"] and one["valid"]]
        confirmed = [one["rate"] for one in held]
        assert row["max_rps_at_slo"] == max(confirmed, default=0.0)
        assert row["slo"]["p99_ms"] == 200.0
        if confirmed:
            price = record["environment"]["price_per_hour"]
            expected = price / 3600 / row["max_rps_at_slo"] * 1e6
            assert row["cost_per_million"] == pytest.approx(expected, rel=1e-4)


def test_labelled_rows_count_more_than_the_manifest(record: dict[str, Any]) -> None:
    row = row_of(record, "intent", "distilled-int8")
    assert row["quality"]["value"] == 0.8
    assert row["loss"] == {"value": 0.1, "ci_low": 0.0, "ci_high": 0.3, "paired": True}
    assert row["agreement_with_full"] == 0.9
    assert record["models"] == {"intent": {"data": "made up", "rows": 10}}


def test_each_smaller_variant_gets_a_verdict(record: dict[str, Any]) -> None:
    (verdict,) = record["verdicts"]
    assert verdict.startswith("intent distilled-int8: ")
    assert verdict.endswith("% of the memory, -10.0 points [-30.0, 0.0].")


def test_what_was_not_measured_is_left_out(record: dict[str, Any]) -> None:
    assert "cost_per_million" not in row_of(record, "intent", "pytorch-fp32")
    assert "null" not in json.dumps(record["variants"])


def test_the_environment_says_where_and_how(record: dict[str, Any]) -> None:
    found = record["environment"]
    assert found["command"] == "transfer bench --models intent,reader"
    assert found["seed"] == 3
    assert found["validity"].keys() == {"cpu_used_before", "idle_machine"}
    assert found["cores"] == os.cpu_count()
    assert len(found["artifacts"]["intent/full"]) == 64
    assert found["artifacts"]["intent/full"] != found["artifacts"]["intent/distilled-int8"]
    assert found["texts"]["reader"]["mixed"]["n"] > 100


def test_every_latency_is_kept(run: tuple[Path, str], record: dict[str, Any]) -> None:
    with gzip.open(run[0] / "latencies.jsonl.gz", "rt") as file:
        phases = [json.loads(line) for line in file]
    (single,) = [
        phase
        for phase in phases
        if (phase["model"], phase["scenario"], phase["mix"]) == ("reader", "single_stream", "mixed")
    ]
    row = row_of(record, "reader", "full")
    assert len(single["latencies_ms"]) == row["latency_ms"]["n"]


def test_page_and_table_are_written_beside_it(run: tuple[Path, str]) -> None:
    text = (run[0] / "tradeoff.html").read_text()
    assert "<!doctype html>" in text and "intent distilled-int8:" in text
    rows = list(csv.DictReader((run[0] / "tradeoff.csv").read_text().splitlines()))
    assert [row["variant"] for row in rows] == ["full", "distilled-int8", "pytorch-fp32", "full"]
    assert float(rows[0]["peak_pss_mb"]) > 50


def test_progress_is_told_on_stderr(run: tuple[Path, str]) -> None:
    assert "intent/distilled-int8: offline" in run[1]
    assert "done:" in run[1]


def test_an_unknown_model_is_refused_with_those_that_there_are() -> None:
    order = Order(models=["typo"])
    with pytest.raises(UsageError, match=r"No variant of typo.*there are intent, reader"):
        jobs_of({"intent/full": "x", "reader/full": "y"}, THOROUGH, order)


@pytest.mark.parametrize(("variants", "baselines"), [(1, 0), (4, 1), (18, 5)])
def test_a_quick_look_stays_under_five_minutes(variants: int, baselines: int) -> None:
    plan = quick(variants, baselines)
    assert variants * (plan.phases_s + AROUND_S) + baselines * BASELINE_S < 300
    assert plan.probe_s >= LEAST_PHASE_S - 1e-9


def test_slow_models_are_looked_at_until_enough_requests_were_seen() -> None:
    plan = Plan(probe_s=5.0, confirm_s=20.0, least=100)
    assert [plan.open_s(rate) for rate in (400.0, 10.0, 1.0)] == [5.0, 10.0, 25.0]
    assert [plan.open_s(rate, True) for rate in (400.0, 10.0, 1.0)] == [20.0, 30.0, 100.0]
