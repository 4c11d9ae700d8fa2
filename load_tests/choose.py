"""The cheapest variant of a model that meets demands, by a report: `transfer choose MODEL`.

In: the record of a report and demands. Out: the variant, its rate and its cost, or which demand
fails. The rate of a variant is the highest one whose last valid run met the demand, when no lower
rate failed it: a probe that a longer run did not confirm promises nothing. Cost is the price of
the machine over that rate, so the cheapest variant is the one that serves most as is asked of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_tests.cost import cost_per_million
from load_tests.report.record import BASELINE, FULL
from services.errors import TransferError, UsageError

Row = Mapping[str, Any]

SETTING = "TRANSFER_VARIANTS"
ROUNDING = 1e-6  # points: a loss of exactly what is allowed is allowed


class NoVariantError(TransferError):
    """No variant meets all demands."""

    code = "no_variant"


@dataclass(frozen=True)
class Demands:
    """p99_ms: at the rate that is promised; max_loss: points of quality against `full`, as measured
    (its interval is told); max_memory_mb: peak PSS; rps: requests a second of one machine
    """

    p99_ms: float
    max_loss: float
    max_memory_mb: float | None = None
    rps: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """One variant in the light of the demands; rate: 0 when none was met

    p99_ms: of the run with that rate, else the lowest of all its valid runs (None without any)
    loss: in points, None where it is not known
    """

    row: Row
    rate: float
    p99_ms: float | None
    loss: float | None
    cost: float | None

    @property
    def variant(self) -> str:
        return str(self.row["variant"])


def choose(record: Row, model: str, demands: Demands) -> Candidate:
    """The candidate of the lowest cost; of equal ones that of the least memory.

    Raises UsageError for a model that the report does not have, NoVariantError otherwise.
    """
    every = candidates(record, model, demands)
    tests = demands_of(demands)
    meeting = [one for one in every if all(test(one) for _, test, _ in tests)]
    if not meeting:
        raise NoVariantError(
            f"No variant of {model} meets all demands. {_why(every, tests)}",
            "Relax a demand, or measure again on the machine that will serve: `transfer bench`.",
        )
    return min(meeting, key=lambda one: (one.cost, one.row.get("peak_pss_mb", 0.0)))


def candidates(record: Row, model: str, demands: Demands) -> list[Candidate]:
    """Every variant of the model that can be served, in the order of the report."""
    rows = [row for row in record["variants"] if row["model"] == model]
    if not rows:
        known = ", ".join(dict.fromkeys(row["model"] for row in record["variants"]))
        raise UsageError(f"The report has no {model!r}; it has {known}.", "Name one of these.")
    price = float(record["environment"].get("price_per_hour", 0.0))
    return [_candidate(row, demands, price) for row in rows if row["variant"] != BASELINE]


def _candidate(row: Row, demands: Demands, price: float) -> Candidate:
    rate, p99_ms = _promised([one for one in row.get("rates", ()) if one["valid"]], demands.p99_ms)
    loss = 0.0 if row["variant"] == FULL else None
    if "loss" in row:
        loss = 100 * float(row["loss"]["value"])
    cost = cost_per_million(rate, price) if rate else None
    return Candidate(row, rate, p99_ms, loss, cost)


def _promised(runs: Sequence[Row], p99_ms: float) -> tuple[float, float | None]:
    """The highest rate below which nothing failed and its p99; else 0 and the lowest p99 there is.

    runs: valid ones by rate, those of one rate in the order of time: a rate's last run decides, be
    it the second try of a probe or the confirmation
    """
    last = {float(run["rate"]): run for run in runs}
    found: tuple[float, float | None] = (0.0, None)
    for rate in sorted(last):
        if not _holds(last[rate], p99_ms):
            break
        found = (rate, float(last[rate]["latency_ms"]["p99"]))
    if found[0]:
        return found
    return 0.0, min(
        (float(run["latency_ms"]["p99"]) for run in runs if _answered(run)), default=None
    )


def _holds(run: Row, p99_ms: float) -> bool:
    return _answered(run) and float(run["latency_ms"]["p99"]) <= p99_ms


def _answered(run: Row) -> bool:
    """A run that shed or failed part of its requests promises nothing about the others."""
    if run["failures"] or "latency_ms" not in run:
        return False
    return bool(run["shed"] <= 0.01 * (run["requests"] + run["shed"]))


Test = tuple[str, Callable[[Candidate], bool], Callable[[Candidate], str]]


def demands_of(demands: Demands) -> list[Test]:
    """(what is demanded, whether a candidate meets it, what the candidate has) for each demand."""
    tests: list[Test] = [
        (
            f"p99 of at most {demands.p99_ms:g} ms",
            lambda one: one.rate > 0,
            lambda one: "not measured" if one.p99_ms is None else f"{one.p99_ms:.1f} ms",
        ),
        (
            f"a loss of at most {demands.max_loss:g} points",
            lambda one: one.loss is not None and one.loss <= demands.max_loss + ROUNDING,
            lambda one: "not measured" if one.loss is None else f"{one.loss:.1f} points",
        ),
    ]
    if demands.max_memory_mb is not None:
        most = demands.max_memory_mb
        tests.append(
            (
                f"at most {most:g} MB of memory",
                lambda one: one.row.get("peak_pss_mb", float("inf")) <= most,
                lambda one: (
                    f"{one.row['peak_pss_mb']:.0f} MB"
                    if "peak_pss_mb" in one.row
                    else "not measured"
                ),
            )
        )
    if demands.rps:
        tests.append(
            (
                f"{demands.rps:g} requests/s at that p99",
                lambda one: one.rate >= demands.rps,
                lambda one: f"{one.rate:.0f} requests/s",
            )
        )
    return tests


def _why(every: Sequence[Candidate], tests: Sequence[Test]) -> str:
    """The demand that nothing meets alone; else which one each variant fails."""
    alone = [
        f"None has {what}: " + ", ".join(f"{one.variant} {has(one)}" for one in every) + "."
        for what, test, has in tests
        if not any(test(one) for one in every)
    ]
    if alone:
        return " ".join(alone)
    return " ".join(
        f"{one.variant} fails "
        + " and ".join(f"{what} ({has(one)})" for what, test, has in tests if not test(one))
        + "."
        for one in every
    )


def told(model: str, chosen: Candidate, demands: Demands) -> str:
    """The choice in words."""
    row, loss = chosen.row, chosen.row.get("loss")
    parts = [f"{chosen.rate:,.0f} requests/s with p99 {chosen.p99_ms:.1f} ms"]
    if loss:
        interval = ""
        if loss.get("ci_low") is not None:
            interval = f" [{100 * loss['ci_low']:.1f}, {100 * loss['ci_high']:.1f}]"
        parts.append(f"{100 * loss['value']:.1f}{interval} points lost")
    if "peak_pss_mb" in row:
        parts.append(f"{row['peak_pss_mb']:.0f} MB at most")
    parts.append(f"{chosen.cost:.3f} for a million requests")
    return f"{model}/{chosen.variant}: {', '.join(parts)}."


def write_setting(path: Path, model: str, variant: str) -> str:
    """Add `model/variant` to the setting of what is served, in place of other variants of `model`.

    The file holds lines of NAME=VALUE (`transfer serve --env-file`, `docker run --env-file`, a
    Kubernetes ConfigMap); its other lines stay. Returns the line.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    others = [line for line in lines if not line.startswith(f"{SETTING}=")]
    old = next((line for line in lines if line.startswith(f"{SETTING}=")), f"{SETTING}=")
    known = [key for key in old.partition("=")[2].split(",") if key]
    kept = [key for key in known if key.partition("/")[0] != model]
    setting = f"{SETTING}={','.join([*kept, f'{model}/{variant}'])}"
    path.write_text("\n".join([*others, setting]) + "\n", encoding="utf-8")
    return setting
