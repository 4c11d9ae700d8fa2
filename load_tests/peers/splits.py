"""Ways to split the cores between threads, and what the ceiling's worker is asked about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Split:
    """threads that take texts x intra_op threads of one call; batch: texts taken at a time"""

    threads: int
    intra_op: int
    batch: int

    def __str__(self) -> str:
        return f"{self.threads} x {self.intra_op} threads, batch {self.batch}"


def splits(cores: int) -> dict[str, Split]:
    """Every way to try: up to as many threads as cores, inside of calls and beside each other."""
    counts = range(1, cores + 1)
    return {str(one): one for one in (Split(*way) for way in product(counts, counts, BATCHES))}


def rate_request(
    folder: Path, texts: Sequence[str], split: Split, seconds: float
) -> dict[str, Any]:
    """What to ask the worker for texts a second."""
    return {**labels_request(folder, texts), "split": asdict(split), "seconds": seconds}


def labels_request(folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    """What to ask the worker for the labels of texts, one text a call."""
    return {"folder": str(folder), "texts": list(texts)}
