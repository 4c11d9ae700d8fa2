"""The whole report over tiny real variants: real servers, real load, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from load_tests.report import jobs_of
from load_tests.server import ROOT
from load_tests.table import table
from services.errors import UsageError

SCRIPT = """
import sys
from pathlib import Path
from load_tests.measure import Plan
from load_tests.report import bench
bench(out=Path(sys.argv[1]), models=["highlights", "intent", "reader"],
      checkpoints={"intent": Path(sys.argv[2])},
      plan=Plan(settle_s=0.2, single_s=0.5, saturated_s=0.5, users=4, seed=3))
"""


@pytest.fixture(scope="module")
def run(
    published: Mapping[str, str],
    checkpoints: Mapping[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, str]:
    """The folder that the report was written to, and stderr."""
    out = tmp_path_factory.mktemp("report") / "reports"
    command = [sys.executable, "-c", SCRIPT, str(out), str(checkpoints["sequence-classification"])]
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
        ("highlights", "full"),
        ("intent", "full"),
        ("intent", "distilled-int8"),
        ("intent", "pytorch-fp32"),
        ("reader", "full"),
    ]


def test_a_row_has_what_was_measured_and_what_the_manifest_says(record: dict[str, Any]) -> None:
    row = row_of(record, "intent", "distilled-int8")
    assert row["quality"] == {"metric": "accuracy", "value": 0.9, "n": 100, "data": "made up"}
    assert row["agreement_with_full"] == 1.0
    assert row["agreement_n"] == 100
    assert row["parameters"] == 300
    assert 0 < row["disk_mb"] < 1
    assert row["cold_start_s"] > 0.3
    assert 50 < row["idle_pss_mb"] <= row["peak_pss_mb"]
    assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p95"] <= row["latency_ms"]["p99"]
    assert row["throughput_rps"] > 10
    for phase in row["load"].values():
        assert phase["failures"] == {}


def test_what_was_not_measured_is_left_out(record: dict[str, Any]) -> None:
    unmeasured = {"max_rps_at_slo", "cost_per_million", "energy_wh_per_million", "pareto"}
    assert not any(unmeasured & row.keys() for row in record["variants"])
    assert "null" not in json.dumps(record)


def test_torch_and_the_small_model_are_compared_on_the_same_texts(record: dict[str, Any]) -> None:
    row = row_of(record, "intent", "pytorch-fp32")
    (compared,) = record["in_process"]
    assert row["transport"] == "in process"
    assert compared["baseline_rps"] == row["throughput_rps"]
    expected = compared["throughput_rps"] / compared["baseline_rps"]
    assert compared["ratio"] == pytest.approx(expected, rel=1e-4)
    assert compared["n_texts"] == record["environment"]["texts"]["intent"]["n"]


def test_the_environment_says_where_and_how(record: dict[str, Any]) -> None:
    found = record["environment"]
    assert found["command"] == "transfer bench --quick --models highlights,intent,reader"
    assert found["seed"] == 3
    assert found["validity"].keys() == {"cpu_used_before", "idle_machine"}
    assert found["cores"] == os.cpu_count()
    assert len(found["artifacts"]["intent/full"]) == 64
    assert found["artifacts"]["intent/full"] != found["artifacts"]["intent/distilled-int8"]


def test_the_table_is_written_beside_it(run: tuple[Path, str], record: dict[str, Any]) -> None:
    assert (run[0] / "tradeoff.md").read_text() == table(record)


def test_progress_is_told_on_stderr(run: tuple[Path, str]) -> None:
    assert "intent/distilled-int8: load" in run[1]
    assert "done:" in run[1]


def test_an_unknown_model_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"No variant of typo.*there are intent, reader"):
        jobs_of({"intent/full": "x", "reader/full": "y"}, ["typo"], {})
