"""One training in several processes: torchrun starts them, the Trainer shares the batches.

    torchrun --nproc-per-node=2 transfer.py train intent data=PATH batch_size=16 out=FOLDER

The batch of a step is that of the recipe times the processes. All of them read and write the same
folder `out`; only the first records the checkpoint. Out: who this process is.
"""

from __future__ import annotations

import torch
from accelerate import PartialState

from services.errors import UsageError


def processes() -> int:
    """How many train together; 1 without torchrun."""
    return int(_state().num_processes)


def is_first() -> bool:
    """Whether this one writes what they made."""
    return bool(_state().is_main_process)


def refuse_several(what: str) -> None:
    """Raises UsageError where several processes would write over each other."""
    if processes() > 1:
        raise UsageError(
            f"{what} runs in one process; torchrun started {processes()}.",
            "Start it without torchrun; steps of encoders alone are shared by several.",
        )


def _state() -> PartialState:
    return PartialState(cpu=not torch.cuda.is_available())
