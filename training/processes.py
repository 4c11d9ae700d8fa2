"""Training in several processes: `torchrun --nproc-per-node 2 transfer.py train RECIPE`.

Each process takes its share of every batch; gradients are averaged (DDP, by transformers). The
first process alone writes files and scores; the others learn the scores from it. Without torchrun
there is one process, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from services.errors import UsageError

Value = TypeVar("Value")
# Others wait while the first scores dev or writes a checkpoint; gloo's own limit is 30 minutes, and
# right for meeting and for gradients.
PATIENCE = timedelta(hours=12)
_GROUP: list[Any] = []  # the patient group, once the processes have met


def join_processes() -> None:
    """Meet the other processes that torchrun started; gloo on CPUs, NCCL on GPUs."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or distributed.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    _GROUP.append(distributed.new_group(timeout=PATIENCE, backend="gloo"))


def world_size() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main() -> bool:
    return not distributed.is_initialized() or distributed.get_rank() == 0


@contextmanager
def main_first() -> Iterator[None]:
    """The block runs in the first process, then in the others, which find what it wrote."""
    if not is_main():
        distributed.barrier(_GROUP[0])
    yield
    if is_main() and _GROUP:
        distributed.barrier(_GROUP[0])


def from_main(function: Callable[[], Value]) -> Value:
    """What `function` gives in the first process, in all of them; it runs there alone."""
    if not _GROUP:
        return function()
    found = [function() if is_main() else None]
    distributed.broadcast_object_list(found, src=0, group=_GROUP[0])
    value: Value = found[0]  # type: ignore[assignment]
    return value


def refuse_several(what: str) -> None:
    """Raise UsageError under torchrun, for what runs in one process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"{what} runs in one process; torchrun started {os.environ['WORLD_SIZE']}.",
            "Call it without torchrun; `transfer train` is what runs in several.",
        )


def leave_processes() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
    _GROUP.clear()
