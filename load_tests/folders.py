"""Where published variants lie, asked of BentoML's store in a process of its own.

In: tags. Out: a folder for each. BentoML shares its libraries with every server, so it stays out of
the process that measures (see `load_tests.modules`). By hand:

    echo '["intent-full:0123456789abcdef"]' | python -m load_tests.folders
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from load_tests.modules import run_module
from services.errors import ArtifactError, TransferError


def folders_of(tags: Sequence[str]) -> list[Path]:
    """In the order of the tags; raises ArtifactError for one that the store does not have."""
    found = run_module("load_tests.folders", list(tags), timeout_s=60)
    if fault := found.get("fault"):
        raise ArtifactError(*fault)
    return [Path(folder) for folder in found["folders"]]


def main() -> None:
    from services.registry import variant_path

    try:
        found = {"folders": [str(variant_path(tag)) for tag in json.load(sys.stdin)]}
    except TransferError as error:
        found = {"fault": [error.message, error.hint]}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
