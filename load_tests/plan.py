"""How long to look at a variant: the phases of `transfer bench` in seconds.

THOROUGH is for a quiet machine and an hour; `quick` shares five minutes among the variants.
"""

from __future__ import annotations

from dataclasses import dataclass

from load_tests.mixes import LONG, MIXED, SHORT

P99_MS = 50.0
QUICK_S = 265.0
# Seconds that a variant costs besides its phases: its server's start and stop, its generator, its
# second process for `offline`, and where it has no plan yet the two seconds to measure one.
AROUND_S = 7.5
BASELINE_S = 11.0  # of a baseline: importing torch takes most of it
LEAST_PHASE_S = 0.25
LEAST_BATCH_S = 0.5  # eight documents at once take a slow variant a third of a second
LONGER = 5.0  # at most: so many times the seconds of the plan at a rate of few requests
MOST_SCALE = 10.0  # a second for each probe: one model alone takes two minutes


@dataclass(frozen=True)
class Plan:
    """Seconds of each phase; `settle_s` before each one warms up and is not counted.

    probe_s, probes: of the search for the highest rate; again: a probe that fails is repeated
    confirm_s: the run that confirms it
    least: requests of a probe, of three such of a confirmation: a p99 of fewer says little, so that
        slow models are looked at for longer
    mixes: the length mixes of the closed scenarios; the search and `offline` take `mixed`
    p99_ms: the target of the search
    """

    settle_s: float = 1.0
    single_s: float = 8.0
    batch_s: float = 5.0
    probe_s: float = 4.0
    probes: int = 12
    again: bool = True
    confirm_s: float = 15.0
    least: int = 100
    offline_s: float = 6.0
    mixes: tuple[str, ...] = (SHORT, LONG, MIXED)
    p99_ms: float = P99_MS
    seed: int = 0

    def open_s(self, rate: float, confirm: bool = False) -> float:
        """Seconds at this rate: those of the plan, or as `least` asks, up to five times as many."""
        seconds, least = (self.confirm_s, 3 * self.least) if confirm else (self.probe_s, self.least)
        return max(seconds, min(least / rate, LONGER * seconds))

    @property
    def phases_s(self) -> float:
        """Seconds of load for one variant, when the first confirmation holds."""
        closed = len(self.mixes) * (self.single_s + self.settle_s) + self.batch_s + self.settle_s
        search = self.probes * (self.probe_s + self.settle_s)
        return closed + search + self.confirm_s + self.settle_s + self.offline_s


THOROUGH = Plan()
# The shares of a quick look: multiplied by what there is time for.
UNIT = Plan(
    settle_s=0.1,
    single_s=0.2,
    batch_s=0.1,
    probe_s=0.1,
    probes=4,
    again=False,
    confirm_s=0.25,
    least=10,
    offline_s=0.1,
    mixes=(MIXED,),
)


def quick(variants: int, baselines: int = 0, p99_ms: float = P99_MS, seed: int = 0) -> Plan:
    """A plan that takes less than five minutes for so many variants and PyTorch baselines.

    With very many of them phases stop at 0.25 s, and it takes longer.
    """
    each_s = (QUICK_S - BASELINE_S * baselines) / max(variants, 1) - AROUND_S
    scale = max(each_s / UNIT.phases_s, LEAST_PHASE_S / UNIT.probe_s)
    scale = min(scale, MOST_SCALE)
    return Plan(
        settle_s=min(UNIT.settle_s * scale, 0.3),
        single_s=UNIT.single_s * scale,
        batch_s=max(UNIT.batch_s * scale, LEAST_BATCH_S),
        probe_s=UNIT.probe_s * scale,
        probes=UNIT.probes,
        again=UNIT.again,
        confirm_s=UNIT.confirm_s * scale,
        least=UNIT.least,
        offline_s=UNIT.offline_s * scale,
        mixes=UNIT.mixes,
        p99_ms=p99_ms,
        seed=seed,
    )
