"""How many replicas and nodes a load takes, and what they cost: `transfer plan --rps 5000`.

In: the record of a report, a load, and a kind of node. Out: a row for each variant, and the targets
that its autoscaler is set to. A replica is what was measured: a server on the report's cores, at
the highest rate of its valid runs whose p99 is within the demand; it is loaded to `utilization` of
that rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from load_tests.choose import Candidate, Demands, candidates
from load_tests.cost import cost_per_million
from services.errors import UsageError

Row = Mapping[str, Any]

UTILIZATION = 0.7
SPARE = 1
MEMORY_MARGIN = 1.2  # of the measured peak; k8s/overlays/*/resources.yaml asks for the same
SYSTEM = 0.1  # of a node: kubelet, proxies, daemons
MB_PER_GIB = 1024**3 / 1e6


@dataclass(frozen=True)
class Wanted:
    """utilization: share of a replica's rate that it is given; spare: replicas that may be missing
    node_cores, node_gib, node_price: of one node; the price an hour, that of the report's machine
    for as many cores where it is None
    """

    rps: float
    p99_ms: float
    utilization: float = UTILIZATION
    spare: int = SPARE
    node_cores: int = 16
    node_gib: float = 64.0
    node_price: float | None = None

    def __post_init__(self) -> None:
        if self.rps <= 0 or self.p99_ms <= 0:
            raise UsageError("--rps and --p99-ms are above 0.", "E.g. --rps 5000 --p99-ms 50.")
        if not 0 < self.utilization <= 1:
            raise UsageError(f"--utilization is {self.utilization:g}; expected above 0, up to 1.")
        if self.node_cores < 1 or self.node_gib <= 0 or self.spare < 0:
            raise UsageError("A node has cores and memory, and --spare is 0 or more.")


@dataclass(frozen=True)
class Fleet:
    """What one variant takes.

    rate: requests a second of a replica within the p99; p99_ms: at that rate
    memory_mb: that a replica asks for; per_node: replicas that fit on a node
    in_flight: requests in flight of a replica at its target, by Little's law (Little 1961)
    cost_per_hour of all nodes, cost_per_million requests at this load
    """

    model: str
    variant: str
    rate: float
    p99_ms: float
    memory_mb: float
    replicas: int
    per_node: int
    nodes: int
    cost_per_hour: float
    cost_per_million: float
    cpu_percent: int
    in_flight: int


def plan(record: Row, wanted: Wanted, models: Sequence[str] = ()) -> list[Fleet]:
    """A fleet for each variant that keeps the p99 at all, the cheapest of each model first.

    Raises UsageError for a model that the report does not have, or when no variant is fast enough.
    """
    named = list(models) or list(dict.fromkeys(row["model"] for row in record["variants"]))
    demands = Demands(wanted.p99_ms, max_loss=math.inf)
    found: list[Fleet] = []
    for model in named:
        able = [one for one in candidates(record, model, demands) if one.rate]
        fleets = [_fleet(record, model, one, wanted) for one in able]
        found += sorted(fleets, key=lambda each: (each.cost_per_hour, each.replicas))
    if not found:
        raise UsageError(
            f"No variant of {', '.join(named)} was measured within {wanted.p99_ms:g} ms.",
            "Allow more, or measure on a faster machine: `transfer bench`.",
        )
    return found


def _fleet(record: Row, model: str, one: Candidate, wanted: Wanted) -> Fleet:
    environment = record["environment"]
    cores = int(environment["cores"])
    given = one.rate * wanted.utilization
    replicas = math.ceil(wanted.rps / given) + wanted.spare
    memory_mb = MEMORY_MARGIN * float(one.row["peak_pss_mb"])
    per_node = _per_node(cores, memory_mb, wanted)
    nodes = math.ceil(replicas / per_node)
    price = wanted.node_price
    if price is None:
        price = float(environment["price_per_hour"]) / cores * wanted.node_cores
    assert one.p99_ms is not None
    return Fleet(
        model,
        one.variant,
        round(one.rate, 1),
        round(one.p99_ms, 1),
        round(memory_mb, 1),
        replicas,
        per_node,
        nodes,
        round(nodes * price, 4),
        round(cost_per_million(wanted.rps, nodes * price), 5),
        round(100 * wanted.utilization),
        max(1, math.ceil(given * _mean_s(one))),
    )


def _per_node(cores: int, memory_mb: float, wanted: Wanted) -> int:
    """By cores and by memory, whichever is out first."""
    usable = 1 - SYSTEM
    by_cores = int(wanted.node_cores * usable / cores)
    by_memory = int(wanted.node_gib * MB_PER_GIB * usable / memory_mb)
    if not (fitting := min(by_cores, by_memory)):
        raise UsageError(
            f"A replica takes {cores} cores and {memory_mb:.0f} MB; a node of {wanted.node_cores} "
            f"cores and {wanted.node_gib:g} GiB, less a tenth for the system, holds none.",
            "Plan with larger nodes: --node-cores, --node-gib.",
        )
    return fitting


def _mean_s(one: Candidate) -> float:
    """Mean time in the server at the rate that was chosen."""
    runs = [run for run in one.row["rates"] if run["rate"] == one.rate and run["valid"]]
    means = [
        float(run["stages_ms"]["total"]) for run in runs if "total" in run.get("stages_ms", {})
    ]
    return max(means, default=0.0) / 1000


def told(fleets: Sequence[Fleet], wanted: Wanted, record: Row) -> str:
    """The table, and the arithmetic of its first row."""
    head = ("model", "variant", "rate", "p99 ms", "replicas", "nodes", "per hour", "per million")
    rows = [
        (
            each.model,
            each.variant,
            f"{each.rate:g}",
            f"{each.p99_ms:g}",
            str(each.replicas),
            str(each.nodes),
            f"{each.cost_per_hour:.2f}",
            f"{each.cost_per_million:.4f}",
        )
        for each in fleets
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    best = min(fleets, key=lambda each: each.cost_per_hour)
    cores = record["environment"]["cores"]
    lines += [
        "",
        f"{wanted.rps:g} requests/s within {wanted.p99_ms:g} ms, as if all went to one variant; "
        f"a replica has {cores} cores and gets {best.cpu_percent} % of its rate; "
        f"{wanted.spare} spare.",
        f"{best.model}/{best.variant}: {wanted.rps:g} / ({best.rate:g} x "
        f"{wanted.utilization:g}) + {wanted.spare} = {best.replicas} replicas of "
        f"{best.memory_mb:.0f} MB, {best.per_node} to a node of {wanted.node_cores} cores: "
        f"{best.nodes} nodes.",
        f"Autoscaler: averageUtilization {best.cpu_percent} (components/hpa), or in flight "
        f"{best.in_flight} a replica (components/keda).",
    ]
    return "\n".join(lines)


def record_of(fleets: Sequence[Fleet], wanted: Wanted) -> dict[str, Any]:
    """For machines."""
    return {"wanted": asdict(wanted), "fleets": [asdict(each) for each in fleets]}
