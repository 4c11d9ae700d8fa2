"""One server under all scenarios."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from load_tests.measure import measure, thinned, wait_quiet
from load_tests.modules import LoadError
from load_tests.plan import Plan
from load_tests.sampler import Sample
from load_tests.server import Server

SHORT = Plan(
    settle_s=0.05,
    single_s=0.2,
    batch_s=0.2,
    probe_s=0.2,
    probes=2,
    confirm_s=0.3,
    mixes=("mixed",),
    p99_ms=1000.0,
)
TEXTS = {"mixed": [{"text": f"text {i}"} for i in range(40)]}


def silent(words: str) -> None:
    """Nobody asks how far it is."""


def test_a_server_gets_latencies_rates_and_memory(tiny_server: Server) -> None:
    seen: list[str] = []
    say: Callable[[str], None] = seen.append
    found = measure(tiny_server, "classify", TEXTS, SHORT, say)
    row = found.row
    assert row["latency_ms"]["p50"] <= row["latency_ms"]["p99"]
    assert 5 < row["idle_pss_mb"] <= row["peak_pss_mb"]
    assert row["scenarios"]["batch"]["mixed"]["texts_per_s"] > 0
    assert {phase["scenario"] for phase in found.raw} == {"single_stream", "batch", "server"}
    tried = [one["rate"] for one in row["rates"]]
    assert tried == sorted(tried) and row["max_rps_at_slo"] in (0.0, *tried)
    assert all(phase["from_s"] < phase["to_s"] for phase in row["phases"])
    assert "warm-up" in seen


def test_a_server_without_a_good_answer_is_a_fault(tiny_server: Server) -> None:
    asked = {"mixed": [{"question": "q", "context": "c"}] * 8}
    with pytest.raises(LoadError, match=r"No request of single_stream .* got 'wrong'"):
        measure(tiny_server, "qa", asked, SHORT, silent)


def test_a_server_that_nobody_asks_is_quiet(tiny_server: Server) -> None:
    assert wait_quiet(tiny_server.pid)


def test_no_peak_is_lost_when_samples_are_thinned() -> None:
    samples = [Sample(float(t), 900.0 if t == 137 else 100.0) for t in range(1000)]
    kept = thinned(samples, most=100)
    assert len(kept) == 100
    assert max(sample.pss_mb for sample in kept) == 900.0
    assert thinned([]) == []
