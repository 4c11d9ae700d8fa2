"""Records of made-up measurements, in the shape that `load_tests.bench` makes."""

from __future__ import annotations

from typing import Any

from load_tests.report.record import complete

Row = dict[str, Any]

ENVIRONMENT: Row = {
    "cpu": "Some CPU",
    "cpu_flags": ["avx2"],
    "cores": 2,
    "measured": "2026-11-22T00:00:00+00:00",
    "command": "transfer bench",
    "commit": "abc",
    "plan": {"single_s": 15.0, "p99_ms": 50.0},
    "price_per_hour": 0.36,
}
# Variant -> p99 of one client in ms, quality, highest rate, peak memory in MB.
VARIANTS = {
    "full": (8.0, 0.95, 100.0, 300.0),
    "full-int8": (3.0, 0.94, 250.0, 220.0),
    "distilled": (4.0, 0.93, 150.0, 270.0),
    "distilled-int8": (2.0, 0.92, 400.0, 200.0),
}


def phase(**changes: Any) -> Row:
    base = {"valid": True, "invalid": [], "shed": 0, "failures": {}, "requests": 500}
    return {**base, **changes}


def latency(p99: float) -> Row:
    return {
        "p50": p99 / 2,
        "p95": p99 * 0.9,
        "p99": p99,
        "ci": {"p50": [p99 / 2.1, p99 / 1.9], "p99": [p99 * 0.9, p99 * 1.2]},
        "n": 500,
    }


def tried(rate: float, p99: float, **changes: Any) -> Row:
    more = {"rate": rate, "confirms": False, "met": p99 <= 50.0, "latency_ms": latency(p99)}
    return phase(**{**more, **changes})


def row(variant: str = "full", model: str = "intent", **changes: Any) -> Row:
    """One variant as measured."""
    p99, quality, rate, memory = VARIANTS[variant]
    base: Row = {
        "task": "classify",
        "model": model,
        "variant": variant,
        "transport": "http",
        "parameters": 17_300_000,
        "disk_mb": 17.94,
        "quality": {
            "metric": "accuracy",
            "value": quality,
            "ci_low": quality - 0.01,
            "ci_high": quality + 0.01,
            "n": 4500,
        },
        "latency_ms": latency(p99),
        "scenarios": {
            "single_stream": {"mixed": phase(latency_ms=latency(p99))},
            "batch": {"mixed": phase(latency_ms=latency(4 * p99), texts_per_s=2 * rate)},
        },
        "rates": [
            tried(rate / 2, p99 * 1.5),
            tried(rate, 40.0, confirms=True),
            tried(rate * 1.1, 90.0),
        ],
        "max_rps_at_slo": rate,
        "slo": {"p99_ms": 50.0, "confirmed": True, "limited_by": "server"},
        "throughput_rps": 1.5 * rate,
        "cost_per_million": 0.36 / 3600 / rate * 1e6,
        "idle_pss_mb": memory - 10,
        "p95_pss_mb": memory - 1,
        "peak_pss_mb": memory,
        "memory": [[0.0, memory - 10], [1.0, memory], [2.0, memory - 2]],
        "stages_ms": {
            "queue": 1.0,
            "tokenize": 0.3,
            "infer": p99 / 2,
            "decode": 0.1,
            "total": 1.5 + p99 / 2,
            "client": 2.0 + p99 / 2,
        },
        "cold_start_s": 2.0,
        "agreement_with_full": 0.9,
        "agreement_n": 100,
    }
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def record(*rows: Row, evidence: Row | None = None, **environment: Any) -> Row:
    """A whole record; every variant of `intent` without `rows`."""
    chosen = list(rows) or [row(variant) for variant in VARIANTS]
    return complete({**ENVIRONMENT, **environment}, chosen, evidence)


DISAGREEMENT: Row = {
    "mcnemar": {"full_only": 12, "variant_only": 3, "p": 0.035},
    "calibration_error": {"of": "the best label", "full": 0.01, "variant": 0.02},
    "classes": [{"of": "freeze_card", "n": 30, "metric": "recall", "full": 0.9, "variant": 0.6}],
    "worst": [
        {
            "row": 7,
            "asked": "somebody else's <b>words</b>",
            "right": "freeze_card",
            "full": "freeze_card",
            "variant": "send_money",
            "full_score": 0.7,
            "variant_score": 0.9,
        }
    ],
}


def judged(variant: str, lost: float = 0.03) -> Row:
    """What `export.compare` says of a variant."""
    return {
        "variant": variant,
        "n": 4500,
        "agreement": 0.97,
        "quality": {"metric": "accuracy", "value": 0.95 - lost, "n": 4500},
        "loss": {"value": lost, "ci_low": lost - 0.005, "ci_high": lost + 0.005},
        "disagreement": DISAGREEMENT,
    }
