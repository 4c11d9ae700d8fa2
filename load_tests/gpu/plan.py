"""What is measured on a device, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """seconds: of each point; tokens, windows: lengths and batch sizes that are crossed
    cpu_windows: batch sizes of the int8 variants on the CPU, where large ones gain nothing
    writing_windows: batch sizes of models that write, each window many steps of the decoder
    mixed: windows of mixed lengths that are read in arrival order and sorted by length
    samples: texts of this repository on which answers are compared
    data: model to a file with labelled rows
    """

    seconds: float
    tokens: tuple[int, ...] = (16, 64, 256)
    windows: tuple[int, ...] = (1, 8, 32, 128)
    cpu_windows: tuple[int, ...] = (1, 8)
    writing_windows: tuple[int, ...] = (1, 8)
    mixed: int = 512
    samples: int = 100
    data: tuple[tuple[str, Path], ...] = ()


QUICK = Plan(seconds=0.2, mixed=128, samples=20)
THOROUGH = Plan(seconds=1.0)
