"""The command: its options, and one real run of it over tiny variants."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from load_tests.modules import LoadError
from load_tests.peers import __main__ as main_module
from load_tests.peers.__main__ import main, parser, parts_of, plan_of, run
from load_tests.peers.absent import INSTALL, absent
from load_tests.peers.plan import QUICK, THOROUGH, Plan
from load_tests.server import ROOT
from services.errors import UsageError
from tests.services import tiny

HEAVY = ("bentoml", "numpy", "onnxruntime", "tokenizers", "torch", "transformers")
SCRIPT = """
import sys
from pathlib import Path
from load_tests.peers.__main__ import run
from load_tests.peers.plan import Plan
plan = Plan(seconds=1, rounds=1, search_s=0.01, warm_up_s=1, variants=("full-int8",), words=(8,))
run(plan, ["classify", "latency", "memory"], Path(sys.argv[1]), "a test")
"""


def options(*arguments: str) -> Any:
    return parser().parse_args(arguments)


def test_the_plan_is_thorough_or_quick() -> None:
    assert plan_of(options()) == THOROUGH
    assert plan_of(options("--quick")) == QUICK


def test_options_replace_parts_of_the_plan() -> None:
    plan = plan_of(options("--seconds", "3", "--words", "120", "--variants", "distilled-int8"))
    assert (plan.seconds, plan.words, plan.variants) == (3, (120,), ("distilled-int8",))


def test_all_faults_of_the_options_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        plan_of(options("--seconds", "0", "--words", "9", "--variants", "full-int4"))
    for fault in ("--seconds is 0", "--words names 9", "--variants names full-int4"):
        assert fault in caught.value.message


def test_what_needs_a_checkpoint_is_measured_on_request() -> None:
    assert "seq2seq" not in parts_of(options())
    assert "seq2seq" in parts_of(options("--seq2seq", "folder"))
    assert parts_of(options("--only", "qa,classify,qa")) == ["qa", "classify"]
    with pytest.raises(UsageError, match="speed"):
        parts_of(options("--only", "speed"))


def test_a_machine_without_wrk_ends_with_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["--quick"]) == 2
    assert "apt-get install wrk" in capsys.readouterr().err


def test_who_watches_a_server_imports_nothing_that_it_could_share_with_it() -> None:
    """Shared pages count as half in the PSS of the server."""
    code = f"import sys, load_tests.peers.__main__\nprint([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_part_that_fails_does_not_keep_the_others_from_being_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(plan: Plan, say: Any) -> dict[str, Any]:
        raise LoadError("Nothing answers.", "Start it.")

    def works(plan: Plan, say: Any) -> dict[str, Any]:
        return {"figures": [], "artifacts": {}, "left_out": ["X is left out"]}

    monkeypatch.setattr(main_module, "PARTS", {"qa": fails, "long": works})
    monkeypatch.setattr(main_module, "require_wrk", lambda: True)
    monkeypatch.setattr(main_module, "wrk_version", lambda: "1")
    out = tmp_path / "peers.json"
    with pytest.raises(LoadError, match=r"1 of 2 parts failed\. qa: Nothing answers\. Start it\."):
        run(QUICK, ["qa", "long"], out, "a test")
    assert list(json.loads(out.read_text())["parts"]) == ["long"]
    assert "X is left out." in out.with_suffix(".md").read_text()


def test_a_peer_that_is_not_installed_is_named() -> None:
    assert absent("FastAPI", "json") == ""
    assert absent("FastAPI", "json", "not_a_package") == (
        f"FastAPI is left out: not_a_package is not installed; {INSTALL}"
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if shutil.which("wrk") is None or find_spec("fastapi") is None:
        pytest.skip("needs wrk and the peers extra")
    root = tmp_path_factory.mktemp("peers")
    keys = ["intent/full-int8", "zeroshot/full-int8"]
    tags = [
        tiny.store(tiny.write_variant(root / key, *key.split("/"), max_tokens=256), root / "home")
        for key in keys
    ]
    lock = tiny.write_lock(root / "variants.lock.json", tags)
    settings: Mapping[str, str] = {"BENTOML_HOME": str(root / "home"), "TRANSFER_LOCK": str(lock)}
    out = root / "peers.json"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out)],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(out.read_text()))


def figures(record: dict[str, Any], part: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in record["parts"][part]["figures"]}


def test_servers_and_ceiling_are_measured_side_by_side(record: dict[str, Any]) -> None:
    found = figures(record, "classify")
    assert {name.partition(", full-int8")[0] for name in found if "/classify" not in name} == {
        "in-process ceiling",
        "FastAPI + ONNX Runtime",
        "BentoML batchable=True",
        "BentoML batchable=True without log, metrics, tracing",
    }
    assert all(row["value"] > 0 for row in found.values())
    assert {name for name, row in found.items() if "target" in row} == {
        "/classify, full-int8, 8 words, of the ceiling",
        "/classify, 32 texts a request, full-int8, 8 words, of the ceiling",
        "/classify, full-int8, 8 words, to FastAPI + ONNX Runtime",
        "/classify, full-int8, 8 words, to BentoML batchable=True",
    }


def test_all_of_them_do_the_same_work(record: dict[str, Any]) -> None:
    (detail,) = record["parts"]["classify"]["details"]
    assert detail["texts"] >= 100
    assert set(detail["agreements"].values()) == {1.0}
    assert all(load["failures"] == 0 for loads in detail["loads"].values() for load in loads)


def test_latency_is_measured_at_half_of_the_saturated_rate(record: dict[str, Any]) -> None:
    (detail,) = record["parts"]["latency"]["details"]
    assert detail["rate"] == pytest.approx(detail["saturated_rate"] / 2, rel=1e-4)
    assert all(phase["failures"] == {} for phase in detail["constant"])
    name = "p99 at half of the saturated rate, constant arrivals, full-int8, 8 words"
    assert figures(record, "latency")[f"{name}, to the single request"]["target_number"] == 4.0


def test_the_default_models_are_started_and_weighed(record: dict[str, Any]) -> None:
    found = figures(record, "memory")
    assert (
        "intent/full-int8, zeroshot/full-int8" in found["PSS when every model has answered"]["how"]
    )
    assert found["PSS when every model has answered"]["value"] > 50
    assert found["start to ready"]["value"] > 0


def test_a_part_tells_where_and_how_it_was_measured(record: dict[str, Any]) -> None:
    at = record["parts"]["classify"]["environment"]
    assert at["command"] == "a test"
    assert {"fastapi", "bentoml", "wrk", "onnxruntime"} <= set(at["versions"])
    assert len(at["artifacts"]["intent/full-int8"]["sha256"]) == 64
    assert at["plan"]["seconds"] == 1
