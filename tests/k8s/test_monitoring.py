"""Rules that fire when they should, and name metrics that the live service has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from load_tests.server import free_port
from tests.k8s.conftest import ROOT, rendered

NAME = re.compile(r"\btransfer(?:_[a-z0-9]+)+\b|\btransfer:[a-z0-9_:]+\b")
CUDA_ALONE = {"transfer_gpu_memory_bytes"}
RUNBOOK = ROOT / "docs" / "operations.md"
WAIT_S = 30.0


def groups() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rendered("cpu-int8").one("PrometheusRule")["spec"]["groups"]
    return found


def rules(kind: str) -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"] if kind in rule]


def dashboard() -> dict[str, Any]:
    (found,) = [
        each["data"]["dashboard.json"]
        for each in rendered("cpu-int8").all("ConfigMap")
        if "dashboard.json" in each["data"]
    ]
    board: dict[str, Any] = json.loads(found)
    return board


def queries() -> list[str]:
    """Every expression of rules, dashboard and autoscaler."""
    triggers = rendered("gpu-fp16").one("ScaledObject")["spec"]["triggers"]
    return [
        *(rule["expr"] for rule in (*rules("record"), *rules("alert"))),
        *(target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]),
        *(trigger["metadata"]["query"] for trigger in triggers),
    ]


def named() -> set[str]:
    """The metrics in them that no rule makes, and that there are without a GPU."""
    found = {name for query in queries() for name in NAME.findall(query)}
    return found - {rule["record"] for rule in rules("record")} - CUDA_ALONE


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups()}))
    return path


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed; Debian has it in the package prometheus")
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def test_the_rules_are_rules(rules_file: Path) -> None:
    done = promtool("check", "rules", rules_file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_not_otherwise(rules_file: Path) -> None:
    tests = shutil.copy(Path(__file__).with_name("rules.test.yaml"), rules_file.parent)
    done = promtool("test", "rules", tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    cases = yaml.safe_load(Path(__file__).with_name("rules.test.yaml").read_text())["tests"]
    tested = {
        test["alertname"]
        for case in cases
        for test in case["alert_rule_test"]
        if test["exp_alerts"]
    }
    assert tested == {rule["alert"] for rule in rules("alert")}


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    for rule in rules("alert"):
        assert rule["labels"]["severity"] in ("page", "ticket")
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert anchor in anchors, f"the runbook has nothing about {rule['alert']}"


def test_every_panel_asks_something_in_a_place_of_its_own() -> None:
    panels = dashboard()["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(places) == len(set(places))
    for panel in panels:
        assert panel["title"]
        assert panel["targets"]
        assert panel["datasource"]["uid"] == "${source}"


GROUPED = re.compile(r"\b(?:sum|max|min|avg|count)\b(?: by \(([^)]*)\))?")


def test_no_rule_adds_both_sides_of_a_canary_up() -> None:
    """Their `job` is the same; the Prometheus operator tells them apart by `service`."""
    for rule in (*rules("record"), *rules("alert")):
        for labels in GROUPED.findall(rule["expr"]):
            assert {"namespace", "service"} <= set(labels.split(", ")), rule["expr"]


def test_the_dashboard_shows_one_service_or_each_beside_the_other() -> None:
    variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
    assert variables["service"]["multi"] and variables["service"]["includeAll"]
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            assert 'service=~"$service"' in target["expr"], panel["title"]
            assert re.search(r"\{\{(service|pod)\}\}", target["legendFormat"]) or (
                panel["type"] == "table" and "by (service," in target["expr"]
            ), panel["title"]


def test_what_the_runbook_compares_is_on_the_dashboard() -> None:
    """Errors, p99 and memory of `transfer-canary`."""
    shown = {
        name
        for panel in dashboard()["panels"]
        for target in panel["targets"]
        if "{{service}}" in target["legendFormat"]
        for name in NAME.findall(target["expr"])
    }
    assert shown >= {
        "transfer:errors:ratio_rate5m",
        "transfer:request_seconds:p99_5m",
        "transfer_model_memory_bytes",
    }


def test_recorded_rules_are_used() -> None:
    asked = " ".join(queries())
    for rule in rules("record"):
        assert asked.count(rule["record"]) >= 1


def test_metrics_are_found_by_the_names_that_are_used(client: httpx.Client) -> None:
    client.post("/classify", json={"text": "send some money"})
    client.post("/classify", content=b"x", headers={"Content-Type": "text/csv"})
    client.post("/classify", content=b'{"text": "' + b"a" * 300_000 + b'"}')
    text = client.get("/metrics").text
    there = set(re.findall(r"^(transfer_[a-z0-9_]+)", text, re.MULTILINE))
    assert named() <= there, named() - there


@contextmanager
def prometheus(target: str, rules_file: Path, folder: Path) -> Iterator[str]:
    """A real one that scrapes `target` every second; its URL."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules_file)],
        "scrape_configs": [{"job_name": "transfer", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"127.0.0.1:{free_port()}"
    options = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url}",
    ]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(["prometheus", *options], stdout=log, stderr=log)
    try:
        yield f"http://{url}"
    finally:
        process.terminate()
        process.wait(10)


def test_a_real_prometheus_finds_every_metric(
    client: httpx.Client, rules_file: Path, tmp_path: Path
) -> None:
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed; Debian has a package of that name")
    client.post("/classify", json={"text": "send some money"})
    client.post("/classify", content=b'{"text": "' + b"a" * 300_000 + b'"}')
    missing = named() | {"up"}
    with prometheus(client.base_url.netloc.decode(), rules_file, tmp_path) as url:
        until = time.monotonic() + WAIT_S
        while missing and time.monotonic() < until:
            missing = {name for name in missing if not known(url, name)}
            time.sleep(0.5)
        log = (tmp_path / "log.txt").read_text()
        assert not missing, f"{missing} not found; {log[-2000:]}"
        health = healths(url)
        while "unknown" in health and time.monotonic() < until:  # not evaluated yet
            time.sleep(0.5)
            health = healths(url)
        assert health == {"ok"}


def healths(url: str) -> set[str]:
    """What Prometheus says of its rules."""
    groups = httpx.get(f"{url}/api/v1/rules").json()["data"]["groups"]
    return {rule["health"] for group in groups for rule in group["rules"]}


def known(url: str, name: str) -> bool:
    try:
        found = httpx.get(f"{url}/api/v1/query", params={"query": f"count({name})"}, timeout=5)
        return bool(found.json()["data"]["result"])
    except (httpx.TransportError, KeyError, ValueError):  # it does not answer in JSON yet
        return False
