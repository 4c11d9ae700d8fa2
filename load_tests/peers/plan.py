"""How long to look, and at what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from load_tests.server import ROOT
from load_tests.texts import LONG_WORDS, SHORT_WORDS

VARIANTS = ("full-int8", "distilled-int8")


@dataclass(frozen=True)
class Plan:
    """seconds: of each phase, whole ones; rounds: how often each phase is taken, interleaved
    search_s: for each way to split the cores that is tried for the ceiling
    warm_up_s: of load before the first round, for each server
    variants: of `intent`; words: lengths of the texts
    squad: a SQuAD file to take questions from; empty: the sample manuals
    checkpoints: MODEL/{full,distilled}, torch weights that `transfer build` rebuilt
    seq2seq: a BART-shaped checkpoint; seq2seq_onnx: its int8 graphs
    """

    seconds: int = 5
    rounds: int = 5
    search_s: float = 1.0
    warm_up_s: int = 2
    variants: tuple[str, ...] = VARIANTS
    words: tuple[int, ...] = (SHORT_WORDS, LONG_WORDS)
    squad: Path | None = None
    checkpoints: Path = ROOT / ".cache" / "build" / "checkpoints"
    seq2seq: Path | None = None
    seq2seq_onnx: Path | None = None
    seed: int = 0


QUICK = Plan(seconds=1, rounds=2, search_s=0.25, warm_up_s=1)
THOROUGH = Plan()
