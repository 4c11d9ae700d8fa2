from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from load_tests.baseline import BATCHES, CALLS, baseline
from load_tests.bodies import items, zero_shot_labels
from load_tests.modules import LoadError
from services.registry import KINDS

TASKS = {
    "sequence-classification": "classify",
    "zero-shot": "classify",
    "question-answering": "qa",
    "sentence-extraction": "summarize",
    "seq2seq": "summarize",
}
DECODING = {"max_tokens": 64, "stride": 16, "max_new_tokens": 4}


def test_there_is_a_baseline_for_every_kind_of_graph() -> None:
    assert CALLS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", CALLS)
def test_the_same_job_in_torch_is_measured(kind: str, checkpoints: Mapping[str, Path]) -> None:
    labels = zero_shot_labels() if kind == "zero-shot" else None
    bodies = items(TASKS[kind], "some-model", labels=labels)
    found = baseline(kind, checkpoints[kind], bodies, seconds=0.2, **DECODING)
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert found["throughput_rps"] > 1
    assert found["batch_size"] in BATCHES
    assert 100 < found["idle_pss_mb"] <= found["peak_pss_mb"], "torch alone takes more"


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"nowhere has no config\.json"):
        baseline("question-answering", tmp_path / "nowhere", [], seconds=0.1, **DECODING)
