"""What is wrong with the record of a scene, in one line each; nothing where all is as it shall be.

In: a record of `load_tests.rehearsal.scenes`. Out: what was found and what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# A rolling update that is told of as done without a loss was done often, under many requests.
FULL_UPDATES, FULL_REQUESTS = 20, 10_000
UNWANTED = {
    "killed_after_grace": "pods were killed after their grace period",
    "liveness_failures": "liveness probes failed",
    "restarts": "containers ended by themselves",
}


def faults(scene: str, record: Mapping[str, Any]) -> list[str]:
    """Why a scene failed; of memory, each deployment has a record of its own."""
    if scene == "memory":
        return [f"{name}: {fault}" for name, one in record.items() for fault in _lost(one)]
    found = [*_lost(record), *_few(record)]
    if "kills" in record and record["restarts"] != record["kills"]:
        found.append(
            f"{record['restarts']} restarts; expected {record['kills']}, one for each kill"
        )
    for service, pods in _pods(record).items():
        found += [f"{service}: {fault}" for fault in _unwanted(pods)]
    return found


def least_s(updates: int, rate: float) -> float:
    """How long a rolling update of full length goes on, to be asked often enough at this rate."""
    return 1.05 * FULL_REQUESTS / rate if updates >= FULL_UPDATES else 0.0


def _lost(record: Mapping[str, Any]) -> Iterator[str]:
    if record["lost"]:
        yield f"{record['lost']} of {record['sent']} requests were lost; expected none"


def _few(record: Mapping[str, Any]) -> Iterator[str]:
    if record.get("updates", 0) >= FULL_UPDATES and record["sent"] < FULL_REQUESTS:
        yield (
            f"{record['sent']} requests were sent in {record['updates']} updates; "
            f"expected at least {FULL_REQUESTS}. The load fell behind: ask at a lower --rate"
        )


def _pods(record: Mapping[str, Any]) -> dict[str, Any]:
    """Service -> how its pods ended; scenes with one service do not name it."""
    pods = record.get("pods", {})
    return {"pods": pods} if "ended" in pods else dict(pods)


def _unwanted(pods: Mapping[str, Any]) -> Iterator[str]:
    for name, words in UNWANTED.items():
        if pods[name]:
            yield f"{pods[name]} {words}; expected none"
    codes = [code for code in pods["exit_codes"] if code != "0"]
    if codes:
        yield f"pods ended with {', '.join(codes)}; expected 0"
