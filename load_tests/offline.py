"""The scenario `offline` as the one who measures sees it: a child process for each variant.

In: a variant's folder and request bodies. Out: texts a second without HTTP, energy, and the answers
to the samples. ONNX Runtime stays in that process (`load_tests.inprocess`): libraries that a server
shares with its watcher would count as half of its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from load_tests.modules import run_module

Body = dict[str, Any]
THREADS = 2


def offline(
    folder: Path, bodies: Sequence[Body], samples: Sequence[Body], seconds: float
) -> dict[str, Any]:
    """Run `load_tests.inprocess`; raises LoadError with its last lines when it fails.

    Returns throughput_rps, items, seconds, threads, energy (None without CodeCarbon), answers
    """
    request = {
        "folder": str(folder),
        "bodies": list(bodies),
        "samples": list(samples),
        "seconds": seconds,
        "threads": THREADS,
    }
    return dict(run_module("load_tests.inprocess", request, timeout_s=180 + 4 * seconds))
