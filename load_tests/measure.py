"""One variant under all scenarios: latency, the highest rate that meets the p99, memory, energy.

In: a running server and the texts of each mix. Out: the measured fields of a report row, and every
latency. HTTP load comes from Locust (`load_tests.generator`), memory from `load_tests.sampler`. Run
by `transfer bench`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from load_tests import validity
from load_tests.cpu import tree_cpu_s
from load_tests.generator import Generator
from load_tests.mixes import MIXED, grouped
from load_tests.modules import LoadError
from load_tests.percentiles import percentiles, summary
from load_tests.plan import Plan
from load_tests.recorder import mean_stages_ms
from load_tests.sampler import Sample, Sampler
from load_tests.scenarios import BATCH, SERVER, SINGLE_STREAM
from load_tests.search import Found, highest_rate
from load_tests.server import Server
from load_tests.slo import Slo

Body = dict[str, Any]
Row = dict[str, Any]
Say = Callable[[str], None]

IDLE_S = 0.5
QUIET_CPU = 0.1  # of a core: below it a server is done with what was asked before
MOST_POINTS = 240  # of memory over time in the record
FIRST_LOAD = 0.7  # of the rate of a single client: where the search begins


@dataclass
class Observed:
    """row: the fields of the report; raw: {scenario, mix, rate, latencies_ms} of every phase"""

    row: Row = field(default_factory=dict)
    raw: list[Row] = field(default_factory=list)


def measure(
    server: Server, task: str, mixes: Mapping[str, Sequence[Body]], plan: Plan, say: Say
) -> Observed:
    """Every HTTP scenario, and the memory meanwhile.

    mixes: bodies of one text each by mix; `mixed` among them
    Raises LoadError when a single client has not one good answer.
    """
    observed = Observed()
    with (
        Generator(server.url, task) as generator,
        Sampler(server.pid) as sampler,
    ):
        under_load = _Phases(server, generator, plan, observed)
        say("warm-up")
        under_load.warm_up(mixes[MIXED])
        idle_from = time.monotonic()
        time.sleep(IDLE_S)
        idle_to = time.monotonic()
        single = {mix: under_load.single(mix, bodies, say) for mix, bodies in mixes.items()}
        batch = under_load.batch(grouped(task, mixes[MIXED], BATCH.texts), say)
        found = under_load.search(mixes[MIXED], single[MIXED], say)
    observed.row |= {
        "cold_start_s": server.cold_start_s,
        **_memory(sampler, idle_from, idle_to),
        "latency_ms": single[MIXED]["latency_ms"],
        "scenarios": {"single_stream": single, "batch": {MIXED: batch}},
        **_rates(found, plan),
        "phases": [
            {
                **phase,
                "from_s": _since(sampler, phase["from_s"]),
                "to_s": _since(sampler, phase["to_s"]),
            }
            for phase in under_load.phases
        ],
    }
    return observed


class _Phases:
    """Runs phases, notes when they were, and keeps their latencies."""

    def __init__(
        self, server: Server, generator: Generator, plan: Plan, observed: Observed
    ) -> None:
        self.server = server
        self.generator = generator
        self.plan = plan
        self.observed = observed
        self.slo = Slo(plan.p99_ms)
        self.phases: list[Row] = []

    def warm_up(self, bodies: Sequence[Body]) -> None:
        self.generator.run(SINGLE_STREAM, bodies, seconds=max(self.plan.settle_s, 0.2), users=4)
        wait_quiet(self.server.pid)

    def single(self, mix: str, bodies: Sequence[Body], say: Say) -> Row:
        say(f"single stream, {mix}")
        seen = self._run(SINGLE_STREAM, mix, bodies, self.plan.single_s)
        self._require(seen)
        return self._record(seen)

    def batch(self, bodies: Sequence[Body], say: Say) -> Row:
        say(f"batches of {BATCH.texts}")
        seen = self._run(BATCH, MIXED, bodies, self.plan.batch_s)
        self._require(seen)
        return {**self._record(seen), "texts_per_s": seen["items"] / seen["seconds"]}

    def search(self, bodies: Sequence[Body], single: Row, say: Say) -> Found:
        """The rate of one client is what the search starts from."""

        def attempt(rate: float, confirm: bool) -> Row:
            say(f"{rate:,.0f} requests/s{', to confirm it' if confirm else ''}")
            return self._attempt(bodies, rate, confirm)

        first = FIRST_LOAD * single["requests_per_s"]
        return highest_rate(attempt, max(first, 1.0), tries=self.plan.probes, again=self.plan.again)

    def _attempt(self, bodies: Sequence[Body], rate: float, confirm: bool) -> Row:
        number = len(self.phases)
        seen = self._run(
            SERVER,
            MIXED,
            bodies,
            self.plan.open_s(rate, confirm),
            rate=rate,
            seed=1000 * self.plan.seed + number,
        )
        missed = self.slo.faults(seen)
        return {
            **self._record(seen),
            "rate": rate,
            "confirms": confirm,
            "met": not missed,
            "missed": missed,
        }

    def _run(
        self, scenario: Any, mix: str, bodies: Sequence[Body], seconds: float, **more: Any
    ) -> Row:
        began = time.monotonic()
        seen = self.generator.run(
            scenario, bodies, seconds=seconds, settle_s=self.plan.settle_s, **more
        )
        rate = seen["rate"]
        name = scenario.name if rate is None else f"{rate:,.0f} requests/s"
        self.phases.append({"name": name, "from_s": began, "to_s": time.monotonic()})
        self.observed.raw.append(
            {
                "scenario": scenario.name,
                "mix": mix,
                "rate": rate,
                "latencies_ms": seen["latencies_ms"],
            }
        )
        wait_quiet(self.server.pid)
        return seen

    def _require(self, seen: Row) -> None:
        if not seen["latencies_ms"]:
            raise LoadError(
                f"No request of {seen['scenario']} got a good answer in {seen['seconds']:.1f} s; "
                f"faults: {seen['failures']}.",
                f"The server's last lines:\n{self.server.log_tail()}",
            )

    def _record(self, seen: Row) -> Row:
        """A phase without its raw samples, with what makes it valid or not."""
        latencies, invalid = seen["latencies_ms"], validity.faults(seen)
        record: Row = {
            "seconds": seen["seconds"],
            "requests": len(latencies),
            "requests_per_s": len(latencies) / seen["seconds"],
            "shed": seen["shed"],
            "failures": seen["failures"],
            "generator_cpu": seen["generator_cpu"],
            "valid": not invalid,
            "invalid": invalid,
        }
        if latencies:
            record["latency_ms"] = summary(latencies, seed=self.plan.seed)
        if seen["achieved"] is not None:
            record["achieved"] = seen["achieved"]
        if stages := mean_stages_ms(seen):
            record["stages_ms"] = {**stages, "client": sum(latencies) / len(latencies)}
        return record


def wait_quiet(pid: int, timeout_s: float = 5.0, every_s: float = 0.05) -> bool:
    """Until a server is done with what clients that have left had asked for."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        before = tree_cpu_s(pid)
        time.sleep(every_s)
        if tree_cpu_s(pid) - before <= QUIET_CPU * every_s:
            return True
    return False


def _rates(found: Found, plan: Plan) -> Row:
    """The headline, and all rates that were tried."""
    row: Row = {
        "max_rps_at_slo": found.rate,
        "slo": {
            "p99_ms": plan.p99_ms,
            "confirmed": found.confirmed,
            "limited_by": found.limited_by,
        },
        "rates": sorted(found.tries, key=lambda one: float(one["rate"])),
    }
    if found.best and "stages_ms" in found.best:
        row["stages_ms"] = found.best["stages_ms"]
    return row


def _memory(sampler: Sampler, idle_from: float, idle_to: float) -> Row:
    """Idle after the warm-up, p95, peak; and the course, thinned out."""
    idle = [s.pss_mb for s in sampler.samples if idle_from <= s.t <= idle_to]
    row: Row = {
        "idle_pss_mb": percentiles(idle)["p50"] if idle else sampler.samples[0].pss_mb,
        "p95_pss_mb": sampler.p95_mb,
        "peak_pss_mb": sampler.peak_mb,
        "memory": [[_since(sampler, s.t), s.pss_mb] for s in thinned(sampler.samples)],
    }
    if sampler.gpu_peak_mb is not None:
        row["gpu_peak_mb"] = sampler.gpu_peak_mb
    if sampler.cgroup_peak_mb is not None:
        row["cgroup_peak_mb"] = sampler.cgroup_peak_mb
    return row


def _since(sampler: Sampler, moment: float) -> float:
    return moment - sampler.samples[0].t if sampler.samples else 0.0


def thinned(samples: Sequence[Sample], most: int = MOST_POINTS) -> list[Sample]:
    """The highest of each run of samples, so that no peak is lost."""
    size = -(-len(samples) // most)
    groups = [samples[i : i + size] for i in range(0, len(samples), size)] if samples else []
    return [max(group, key=lambda sample: sample.pss_mb) for group in groups]
