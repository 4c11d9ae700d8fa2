"""How many questions a second the reader's graph reads in process, and nothing else is done.

In: a published reader, questions with contexts, a split of the cores. Out: questions a second. The
windows are made before; what they are made into afterwards is left out too. A server of this file
can hardly answer more on these cores. Run by `load_tests.peers.questions`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_tests.peers.splits import Split
from load_tests.peers.threads import rate
from load_tests.worker import answer_lines
from services.manifest import read_manifest
from services.registry import GRAPH_NAME, load_task
from services.runtime import CPU, open_session
from services.windows import Feeds, Window, pad

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Batch:
    """The calls for some questions, with what the graph is fed in each."""

    questions: int
    calls: list[Feeds]


class Reader:
    """The graph, and what it is fed."""

    def __init__(self, folder: Path, intra_op: int) -> None:
        self._manifest = read_manifest(folder)
        self._task = load_task(self._manifest, folder)
        self._session = open_session(folder / GRAPH_NAME, CPU, intra_op)

    def batches_of(self, pairs: Pairs, size: int) -> list[Batch]:
        """All questions, those of about equal length together, the batches in random order."""
        found = [self._task.encode(question, [context]).windows for question, context in pairs]
        found.sort(key=lambda windows: (len(windows), len(windows[0])))
        batches = [self._batch(found[i : i + size], size) for i in range(0, len(found), size)]
        random.Random(0).shuffle(batches)
        return batches

    def _batch(self, questions: Sequence[Sequence[Window]], size: int) -> Batch:
        windows = [window for question in questions for window in question]
        calls = [windows[i : i + size] for i in range(0, len(windows), size)]
        pad_id, names = self._task.tokenizer.pad_id, self._manifest.inputs
        return Batch(len(questions), [pad(call, pad_id, names) for call in calls])

    def read(self, batch: Batch) -> int:
        for feeds in batch.calls:
            self._session.run(self._manifest.outputs, feeds)
        return batch.questions


class _Measurer:
    """What the worker process does: one reader for each number of threads in a call."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, int], Reader] = {}

    def __call__(self, request: dict[str, Any]) -> float:
        split = Split(**request["split"])
        key = (request["folder"], split.intra_op)
        if key not in self._loaded:
            self._loaded[key] = Reader(Path(key[0]), split.intra_op)
        reader = self._loaded[key]
        batches = reader.batches_of(request["pairs"], split.batch)
        return rate(reader.read, batches, split.threads, request["seconds"])


if __name__ == "__main__":
    answer_lines(_Measurer())
