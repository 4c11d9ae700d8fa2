"""`/classify` against the ceiling in process, FastAPI + ONNX Runtime and BentoML's batching.

In: the published variants of `intent`. Out: texts a second of each, phases interleaved, and the
ratios that have to be reached. The same file, the same texts, 32 connections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from load_tests.modules import LoadError
from load_tests.peers import servers
from load_tests.peers.absent import absent
from load_tests.peers.figures import Target, at_least, figure
from load_tests.peers.plan import Plan
from load_tests.peers.rounds import best, interleaved, ratios
from load_tests.peers.splits import Split, labels_request, rate_request, splits
from load_tests.peers.variants import Variant, artifacts, variants
from load_tests.texts import LONG_WORDS, SHORT_WORDS, long_texts, short_texts
from load_tests.worker import Worker
from load_tests.wrk import Load
from services.settings import usable_cores

Row = dict[str, Any]
Say = Callable[[str], None]

BATCH = 32
FINALISTS = 2  # splits that are measured again beside the servers
LEAST_AGREEMENT = 0.5
MOST_OF_CEILING = 1.1  # the rest is noise between two phases of a round
WITH_PEERS = "full-int8"
TEXTS = {SHORT_WORDS: short_texts, LONG_WORDS: long_texts}

OF_CEILING = {
    "full-int8": at_least(0.70, "of the ceiling", stretch=0.80),
    "distilled-int8": at_least(0.55, "of the ceiling"),
}
BATCH_OF_CEILING = at_least(0.90, "of the ceiling")
PEERS: dict[str, tuple[str, Target | None]] = {
    "FastAPI + ONNX Runtime": ("FastAPI", at_least(1.7, "x FastAPI + ONNX Runtime")),
    "BentoML batchable=True": (
        "BentoML Batching",
        at_least(3.0, "x BentoML batchable=True"),
    ),
    "BentoML batchable=True without log, metrics, tracing": ("BentoML Quiet", None),
}


def measure(plan: Plan, say: Say) -> Row:
    """Figures and what they are made of, for every variant and length of the plan."""
    published = variants([f"intent/{variant}" for variant in plan.variants])
    with ExitStack() as stack:
        say("classify: start the servers")
        worker = stack.enter_context(Worker("load_tests.peers.ceiling"))
        server = stack.enter_context(servers.ours(plan.variants))
        peers, left_out = [], absent("FastAPI + ONNX Runtime", "fastapi", "uvicorn")
        if WITH_PEERS in plan.variants:
            folder = published[f"intent/{WITH_PEERS}"].folder
            batching = (servers.bentoml, servers.quiet_bentoml)
            for start in batching if left_out else (servers.fastapi, *batching):
                for intra_op in sorted({1, usable_cores()}):
                    peers.append(stack.enter_context(start(folder, intra_op)))
        figures: list[Row] = []
        details: list[Row] = []
        for words in plan.words:
            for variant in published.values():
                targets = [servers.our_target(server, variant.variant, n) for n in (1, BATCH)]
                if variant.variant == WITH_PEERS:
                    targets += peers
                detail = compare(plan, variant, words, targets, worker, say)
                figures += figures_of(detail)
                details.append(detail)
    return {
        "figures": figures,
        "details": details,
        "artifacts": artifacts(published.values()),
        "left_out": [left_out] if left_out else [],
    }


def compare(
    plan: Plan,
    variant: Variant,
    words: int,
    targets: Sequence[servers.Target],
    worker: Worker,
    say: Say,
) -> Row:
    """Rates of the ceiling and of every target over the rounds, in texts a second."""
    folder, texts = variant.folder, TEXTS[words]()
    place = f"classify {variant.variant}, {words} words"
    say(f"{place}: the best split of the cores")
    known = splits(usable_cores())
    searched = {
        name: worker.ask(**rate_request(folder, texts, split, plan.search_s))
        for name, split in known.items()
    }
    finalists = sorted(searched, key=lambda name: -searched[name])[:FINALISTS]

    agreements = _check(folder, texts, targets, worker)
    say(f"{place}: warm up")
    for target in targets:
        target.load(texts, plan.warm_up_s)

    loads: dict[str, list[Load]] = {target.name: [] for target in targets}

    def in_process(split: Split) -> float:
        return float(worker.ask(**rate_request(folder, texts, split, plan.seconds)))

    def over_http(target: servers.Target) -> float:
        load = target.load(texts, plan.seconds)
        loads[target.name].append(load)
        return load.rate * target.batch

    phases: dict[str, Callable[[], float]] = {
        **{name: (lambda name=name: in_process(known[name])) for name in finalists},
        **{target.name: (lambda target=target: over_http(target)) for target in targets},
    }
    say(f"{place}: {plan.rounds} rounds of {len(phases)} phases of {plan.seconds} s")
    rates = interleaved(phases, plan.rounds)
    return {
        "variant": variant.variant,
        "words": words,
        "texts": len(texts),
        "ceiling": best({name: rates[name] for name in finalists}),
        "searched": searched,
        "rates": rates,
        "agreements": agreements,
        "loads": {name: [asdict(load) for load in found] for name, found in loads.items()},
    }


def _check(
    folder: Path, texts: Sequence[str], targets: Sequence[servers.Target], worker: Worker
) -> dict[str, float]:
    """Share of each server's labels that are the ceiling's; raises LoadError below a half."""
    probes = list(texts)[: servers.PROBES]
    expected = worker.ask(**labels_request(folder, probes))
    found = {t.name: servers.agreement(t.labels(probes), expected) for t in targets}
    wrong = {name: share for name, share in found.items() if share < LEAST_AGREEMENT}
    if wrong:
        raise LoadError(
            f"{wrong} of {len(probes)} labels are those of the same file in process; "
            f"expected nearly all.",
            "The servers do not do the same work: compare their answers.",
        )
    return found


def figures_of(detail: Row) -> list[Row]:
    """The rows of the report for one variant and one length."""
    rates, variant = detail["rates"], detail["variant"]
    place = f"{variant}, {detail['words']} words"
    top, one = rates[detail["ceiling"]], rates["ours, 1 text(s)"]
    many = rates[f"ours, {BATCH} text(s)"]
    rows = [
        figure(f"in-process ceiling, {place}", top, "texts/s", how=detail["ceiling"]),
        figure(f"/classify, {place}", one, "texts/s", how=_faults(detail, "ours, 1 text(s)")),
        of_ceiling(f"/classify, {place}, of the ceiling", one, top, OF_CEILING.get(variant)),
        figure(f"/classify, {BATCH} texts a request, {place}", many, "texts/s"),
        of_ceiling(
            f"/classify, {BATCH} texts a request, {place}, of the ceiling",
            many,
            top,
            BATCH_OF_CEILING,
        ),
    ]
    for words, (prefix, target) in PEERS.items():
        found = {name: values for name, values in rates.items() if name.startswith(prefix)}
        if found:
            name = best(found)
            rows.append(figure(f"{words}, {place}", found[name], "texts/s", how=name))
            rows.append(_times(f"/classify, {place}, to {words}", one, found[name], target))
    return rows


def of_ceiling(
    name: str, values: Sequence[float], ceiling: Sequence[float], target: Target | None
) -> Row:
    """A share of the ceiling. More than all of it is no speed but a fault of the measurement:

    work that was left out, like equal texts computed once. It counts as not reached.
    """
    row = _times(name, values, ceiling, target)
    if row["value"] > MOST_OF_CEILING:
        invalid = "INVALID: no server exceeds the ceiling; some work was not done"
        return {**row, "reached": False, "stretch_reached": False, "how": invalid}
    return row


def _times(
    name: str, values: Sequence[float], others: Sequence[float], target: Target | None
) -> Row:
    return figure(name, ratios(values, others), "x", target)


def _faults(detail: Row, name: str) -> str:
    loads = detail["loads"][name]
    failures = sum(load["failures"] for load in loads)
    p99 = median(load["latency_ms"]["p99"] for load in loads)
    return f"p99 {p99:.1f} ms, {failures} failures"
