"""The cheapest variant that meets demands, and which demand fails."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from load_tests.choose import Demands, NoVariantError, choose, told, write_setting
from services.errors import UsageError
from tests.load_tests.records import record, row, tried

RECORD = record()


def chosen(**demands: Any) -> str:
    asked = Demands(**{"p99_ms": 50.0, "max_loss": 5.0, **demands})
    return choose(RECORD, "intent", asked).variant


@pytest.mark.parametrize(
    ("demands", "variant"),
    [
        ({}, "distilled-int8"),
        ({"max_loss": 1.0}, "full-int8"),
        ({"max_loss": 0.0}, "full"),
        ({"max_loss": 2.5, "max_memory_mb": 280.0}, "full-int8"),
        ({"max_loss": 0.5, "rps": 100.0}, "full"),
    ],
)
def test_the_cheapest_that_meets_all_demands(demands: dict[str, float], variant: str) -> None:
    assert chosen(**demands) == variant


def test_a_tighter_p99_is_met_at_a_lower_rate() -> None:
    loose = choose(RECORD, "intent", Demands(p99_ms=50.0, max_loss=5.0))
    tight = choose(RECORD, "intent", Demands(p99_ms=10.0, max_loss=5.0))
    assert (loose.rate, tight.rate) == (400.0, 200.0)
    assert tight.cost == pytest.approx(2 * loose.cost)
    assert tight.p99_ms == 3.0


def test_runs_that_are_not_valid_or_shed_promise_nothing() -> None:
    runs = [tried(7.0, 5.0), tried(800.0, 1.0, shed=100), tried(900.0, 1.0, valid=False)]
    found = choose(record(row("full", rates=runs)), "intent", Demands(50.0, 1.0))
    assert found.rate == 7.0


def test_a_probe_that_was_not_confirmed_promises_nothing() -> None:
    runs = [tried(20.0, 30.0), tried(30.0, 60.0), tried(40.0, 45.0), tried(40.0, 70.0)]
    found = choose(record(row("full", rates=runs)), "intent", Demands(50.0, 1.0))
    assert (found.rate, found.p99_ms) == (20.0, 30.0)


def test_a_hiccup_that_a_second_try_did_not_have_is_forgiven() -> None:
    runs = [tried(20.0, 90.0), tried(20.0, 30.0), tried(30.0, 40.0)]
    assert choose(record(row("full", rates=runs)), "intent", Demands(50.0, 1.0)).rate == 30.0


def test_a_run_with_one_failure_promises_nothing() -> None:
    runs = [tried(20.0, 30.0), tried(30.0, 40.0, failures={"status 500": 1})]
    assert choose(record(row("full", rates=runs)), "intent", Demands(50.0, 1.0)).rate == 20.0


def test_the_baseline_cannot_be_served() -> None:
    baseline = row("full") | {"variant": "pytorch-fp32", "rates": [tried(9999.0, 1.0)]}
    found = choose(record(row("full"), baseline), "intent", Demands(50.0, 1.0))
    assert found.variant == "full"


@pytest.mark.parametrize(
    ("demands", "parts"),
    [
        ({"p99_ms": 1.0}, ["None has p99 of at most 1 ms", "distilled-int8 3.0 ms"]),
        ({"max_memory_mb": 100.0}, ["None has at most 100 MB of memory", "full 300 MB"]),
        ({"max_loss": -1.0}, ["None has a loss of at most -1 points", "full-int8 1.0 points"]),
        ({"rps": 5000.0}, ["None has 5000 requests/s at that p99", "full 100 requests/s"]),
        (
            {"max_loss": 0.5, "max_memory_mb": 250.0},
            [
                "full fails at most 250 MB of memory (300 MB).",
                "full-int8 fails a loss of at most 0.5 points (1.0 points).",
            ],
        ),
    ],
)
def test_the_demand_that_fails_is_named(demands: dict[str, float], parts: list[str]) -> None:
    with pytest.raises(NoVariantError) as caught:
        chosen(**demands)
    for part in parts:
        assert part in caught.value.message


def test_a_model_without_a_report_is_refused() -> None:
    with pytest.raises(UsageError, match="no 'nope'; it has intent"):
        choose(RECORD, "nope", Demands(50.0, 1.0))


def test_the_choice_is_told_with_what_it_rests_on() -> None:
    demands = Demands(50.0, 5.0)
    text = told("intent", choose(RECORD, "intent", demands), demands)
    assert text.startswith("intent/distilled-int8: 400 requests/s with p99 40.0 ms, 3.0 [")
    assert "200 MB at most" in text and "0.250 for a million requests" in text


def test_the_setting_takes_the_place_of_the_models_other_variants(tmp_path: Path) -> None:
    path = tmp_path / "serving.env"
    write_setting(path, "intent", "full")
    write_setting(path, "reader", "distilled-int8")
    path.write_text("# ours\nTRANSFER_THREADS=2\n" + path.read_text())
    setting = write_setting(path, "intent", "distilled-int8")
    assert setting == "TRANSFER_VARIANTS=reader/distilled-int8,intent/distilled-int8"
    assert path.read_text() == f"# ours\nTRANSFER_THREADS=2\n{setting}\n"


def test_a_shell_understands_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "serving.env"
    write_setting(path, "intent", "full")
    command = f"set -a; . {path}; printenv TRANSFER_VARIANTS"
    assert subprocess.check_output(["sh", "-c", command], text=True) == "intent/full\n"
