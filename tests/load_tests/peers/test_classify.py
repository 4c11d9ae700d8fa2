"""Figures of `/classify` from rates; what is faster than the ceiling was not done."""

from __future__ import annotations

from typing import Any

import pytest

from load_tests.peers.classify import BATCH, BATCH_OF_CEILING, figures_of, of_ceiling
from load_tests.peers.latency import figures_of as latency_figures

CEILING = "2 x 1 threads, batch 8"


def detail(**rates: list[float]) -> dict[str, Any]:
    load = {"failures": 1, "latency_ms": {"p99": 9.0}}
    names = {"one": "ours, 1 text(s)", "many": f"ours, {BATCH} text(s)"}
    return {
        "variant": "full-int8",
        "words": 8,
        "ceiling": CEILING,
        "rates": {CEILING: [2000.0, 1000.0], **{names.get(k, k): v for k, v in rates.items()}},
        "loads": {"ours, 1 text(s)": [load, load]},
    }


def test_shares_are_of_the_ceiling_of_the_same_round() -> None:
    rows = {row["name"]: row for row in figures_of(detail(one=[1600.0, 700.0], many=[1900.0, 920]))}
    share = rows["/classify, full-int8, 8 words, of the ceiling"]
    assert (share["value"], share["spread"], share["reached"]) == (0.75, [0.7, 0.8], True)
    assert share["stretch_reached"] is False
    assert rows["/classify, full-int8, 8 words"]["how"] == "p99 9.0 ms, 2 failures"


def test_the_better_setting_of_a_peer_counts() -> None:
    rates = {"FastAPI, 1 intra-op": [500.0, 500.0], "FastAPI, 2 intra-op": [800.0, 400.0]}
    rows = figures_of(detail(one=[1600.0, 800.0], many=[1.0, 1.0], **rates))
    found = {row["name"]: row for row in rows}
    assert found["FastAPI + ONNX Runtime, full-int8, 8 words"]["how"] == "FastAPI, 2 intra-op"
    assert found["/classify, full-int8, 8 words, to FastAPI + ONNX Runtime"]["value"] == 2.0


def test_more_than_the_ceiling_is_invalid_and_not_reached() -> None:
    row = of_ceiling("share", [34_260.0], [2_727.0], BATCH_OF_CEILING)
    assert row["reached"] is False
    assert row["how"].startswith("INVALID")


def test_noise_about_the_ceiling_is_not_a_fault() -> None:
    assert of_ceiling("share", [1.02], [1.0], BATCH_OF_CEILING)["reached"] is True


@pytest.mark.parametrize(("late", "valid", "said"), [(0.1, True, ""), (3.0, True, "UNSURE")])
def test_a_generator_that_was_late_itself_is_told(late: float, valid: bool, said: str) -> None:
    phase = {"latency_ms": {"p99": 8.0}, "late_ms": {"p99": late}, "valid": valid}
    about = {"variant": "full-int8", "words": 8, "rate": 1000.0, "alone": [{"p50": 1.0}]}
    rows = latency_figures({**about, "constant": [phase], "poisson": [phase]})
    assert all(said in row["how"] for row in rows[1:])
    assert any("UNSURE" in row["how"] for row in rows) is bool(said)


def test_a_rate_that_was_not_kept_is_invalid() -> None:
    phase = {"latency_ms": {"p99": 8.0}, "late_ms": {"p99": 0.1}, "valid": False}
    about = {"variant": "full-int8", "words": 8, "rate": 1000.0, "alone": [{"p50": 1.0}]}
    rows = latency_figures({**about, "constant": [phase], "poisson": [phase]})
    assert all("INVALID" in row["how"] for row in rows[1:])
