"""The whole way, with the commands that a user types: train, distill, export, serve, ask.

Tiny real bases, real processes, real HTTP.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.server import Server, environment, serving

ROOT = Path(__file__).parent.parent
STEPS = ("max_steps=6", "evaluations=1", "max_tokens=96", "stride=16", "freeze_embeddings=false")
JOBS = {
    "tickets": ("sample-tickets", "bert"),
    "manuals": ("sample-manuals", "distilbert"),
    "incidents": ("sample-incidents", "bert"),
}


@dataclass(frozen=True)
class Shop:
    """A folder with everything that the commands write, and how to run them there."""

    folder: Path
    env: dict[str, str]

    def transfer(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "transfer.py"), *arguments],
            cwd=ROOT,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def must(self, *arguments: str, stdin: str = "") -> Any:
        done = self.transfer(*arguments, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, tiny_distilbert: Path) -> Shop:
    """Three jobs trained, distilled, exported and published."""
    folder = tmp_path_factory.mktemp("shop")
    env = environment(folder / "store", folder / "variants.lock.json")
    made = Shop(folder, env)
    bases = {"bert": tiny_bert, "distilbert": tiny_distilbert}
    for model, (recipe, base) in JOBS.items():
        common = (f"base={bases[base]}", *STEPS)
        full, distilled = folder / model, folder / f"{model}-distilled"
        made.must("train", recipe, f"out={full}", *common)
        layers = ("student_layers=[0,3]", f"teacher={full}", f"out={distilled}")
        made.must("distill", recipe, *layers, *common)
        for checkpoint in (full, distilled):
            made.must("export", str(checkpoint), "--unmeasured")
    return made


@pytest.fixture(scope="module")
def server(shop: Shop) -> Iterator[Server]:
    with serving(shop.folder / "server.log", shop.env) as running:
        running.wait_until_ready()
        yield running


def post(server: Server, route: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(server.url + route, json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_every_step_left_its_record(shop: Shop) -> None:
    for model in JOBS:
        metrics = json.loads((shop.folder / f"{model}-distilled" / "metrics.json").read_text())
        plain = metrics["distillation"]["without_teacher"]
        assert metrics["distillation"]["verdict"] in ("won", "lost", "undecided")
        assert plain["steps"] == metrics["train"]["steps"] == 6


def test_all_twelve_variants_are_published_and_different(shop: Shop) -> None:
    models = shop.must("models")["models"]
    assert len(models) == 12
    assert len({entry["sha256"] for entry in models}) == 12
    sizes = {(entry["model"], entry["variant"]): entry for entry in models}
    for model in JOBS:
        assert sizes[model, "distilled"]["parameters"] < sizes[model, "full"]["parameters"], (
            "a student is smaller than its teacher"
        )
        assert sizes[model, "full-int8"]["size_bytes"] < sizes[model, "full"]["size_bytes"]


def test_a_ticket_is_classified_by_the_distilled_int8_model(server: Server) -> None:
    body = {"model": "tickets", "text": ["My parcel never came.", "I was charged twice."]}
    found = post(server, "/classify", body)
    assert found["variant"] == "distilled-int8"
    assert [len(result["scores"]) for result in found["results"]] == [1, 1]
    assert found["results"][0]["label"] in {"shipping", "billing", "returns", "feedback"} | {
        "account_access",
        "technical_fault",
        "sales_enquiry",
        "privacy",
    }


def test_a_question_is_answered_with_exact_offsets(server: Server) -> None:
    context = "The pump runs day and night. 🐟 Rinse the filter every two weeks, please."
    body = {"model": "manuals", "question": "How often?", "context": context, "threshold": 0}
    result = post(server, "/qa", body)["results"][0]
    assert context[result["start"] : result["end"]] == result["answer"] != ""


def test_a_report_is_summarized_by_its_own_sentences(server: Server) -> None:
    text = "The belt tore at two. Nobody was hurt. It was replaced at four. Work went on."
    body = {"model": "incidents", "text": text, "max_sentences": 2}
    result = post(server, "/summarize", body)["results"][0]
    assert len(result["sentences"]) == 2
    assert all(text[s["start"] : s["end"]] == s["text"] for s in result["sentences"])


def test_full_and_distilled_are_compared(server: Server) -> None:
    body = {"task": "classify", "input": {"model": "tickets", "text": "Where is my order?"}}
    found = post(server, "/compare", body)
    variants = [entry["variant"] for entry in found["variants"]]
    assert variants == ["full", "full-int8", "distilled", "distilled-int8"]
    assert 0.0 <= found["agreement"] <= 1.0
    assert found["variants"][0]["agreement"] == 1.0


def test_the_command_line_answers_like_the_service(shop: Shop, server: Server) -> None:
    text = "The app logs me out every minute."
    done = shop.transfer("predict", "classify", "--model", "tickets", stdin=text + "\n")
    assert done.returncode == 0, done.stderr
    offline = json.loads(done.stdout)["results"][0]
    online = post(server, "/classify", {"model": "tickets", "text": text})["results"][0]
    assert offline["label"] == online["label"]
    assert offline["score"] == pytest.approx(online["score"], abs=1e-5)


def test_a_tampered_graph_is_never_served(shop: Shop) -> None:
    """Last of the file: it damages the store."""
    entry = next(e for e in shop.must("models")["models"] if e["variant"] == "distilled-int8")
    graph = Path(entry["path"]) / "model.onnx"
    content = graph.read_bytes()
    os.chmod(graph, 0o644)
    graph.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with serving(shop.folder / "tampered.log", shop.env) as broken:
        assert broken.process.wait(60) == 1
    assert "model.onnx has sha256" in (shop.folder / "tampered.log").read_text()
