"""The published variants that are measured, as `load_tests.peers.published` tells them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_tests.modules import run_module

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Variant:
    """One published variant; bodies: the examples of the API, as requests for it."""

    key: str
    folder: Path
    model: str
    variant: str
    task: str
    max_tokens: int
    decoding: dict[str, Any]
    artifact: dict[str, Any]
    bodies: list[dict[str, Any]]


def variants(keys: Sequence[str] | None = None) -> dict[str, Variant]:
    """By key; those that the default Bento holds when none are named.

    Raises LoadError when one is not published.
    """
    found = run_module("load_tests.peers.published", {"keys": keys}, timeout_s=TIMEOUT_S)
    return {
        key: Variant(key, **{**about, "folder": Path(about["folder"])})
        for key, about in found.items()
    }


def artifacts(found: Iterable[Variant]) -> dict[str, dict[str, Any]]:
    return {one.key: one.artifact for one in found}
